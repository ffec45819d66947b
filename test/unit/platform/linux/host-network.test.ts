// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  checkDevice,
  checkPrefix,
  checkSysctl,
  eachPort,
  type HostDescriptors,
  interceptionRuleset,
  LocalHostNetwork,
  parseBypass,
} from '../../../../src/platform/linux/host-network.js';
import { PlatformError } from '../../../../src/platform/platform.js';

const request = {
  interfaces: ['em0'],
  ports: [
    { from: 443, to: 443 },
    { from: 80, to: 90 },
    { from: 85, to: 100 },
  ],
  include: ['198.18.0.0/15', '198.18.1.0/24', '2001:db8::/32'],
  exclude: ['198.18.7.0/24'],
  listeners: { v4: 4000, v6: 4001 },
};

describe('interceptionRuleset', () => {
  it('merges what overlaps and keeps the order of the decisions', () => {
    const rules = interceptionRuleset(request)
      .split('\n')
      .filter((line) => line.startsWith('add rule'))
      .map((line) => line.replace('add rule inet amptcp prerouting ', ''));
    assert.deepEqual(rules, [
      'meta l4proto != tcp accept',
      'socket transparent 1 meta mark set 1713920 accept',
      'fib daddr type { local, broadcast, multicast, anycast } accept',
      'tcp flags & (fin | syn | rst | ack) != syn accept',
      'iifname != { "em0" } accept',
      'tcp dport != { 80-100, 443 } accept',
      'ip daddr != { 198.18.0.0/15 } accept',
      'ip daddr { 198.18.7.0/24 } accept',
      'ip daddr @bypass4 accept',
      'meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:4000 meta mark set 1713920 accept',
      'ip6 daddr != { 2001:db8::/32 } accept',
      'ip6 daddr @bypass6 accept',
      'meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:4001 meta mark set 1713920 accept',
    ]);
  });

  it('a family that is not included is left alone', () => {
    const rules = interceptionRuleset({ ...request, include: ['198.18.0.0/15'] });
    assert.match(rules, /meta nfproto ipv6 accept/);
  });

  it('delivers to open sockets when nothing is intercepted any more', () => {
    const rules = interceptionRuleset(undefined);
    assert.match(rules, /socket transparent 1/);
    assert.doesNotMatch(rules, /tproxy/);
  });

  it('has no text of the request in it that was not checked', () => {
    const hostile = fc.string({ maxLength: 30 }).filter((text) => /[;{}"\n#]/.test(text));
    fc.assert(
      fc.property(hostile, fc.constantFrom('interfaces', 'include', 'exclude'), (text, where) => {
        assert.throws(() => interceptionRuleset({ ...request, [where]: [text] }), PlatformError);
      }),
    );
    for (const ports of [
      [{ from: 0, to: 1 }],
      [{ from: 5, to: 4 }],
      [{ from: 1, to: 65536 }],
      [{ from: 1.5, to: 2 }],
    ])
      assert.throws(() => interceptionRuleset({ ...request, ports }), PlatformError);
  });
});

describe('checks', () => {
  it('prefixes become canonical', () => {
    assert.equal(checkPrefix('192.0.2.77/24').text, '192.0.2.0/24');
    assert.equal(checkPrefix('2001:DB8:0:0::1').text, '2001:db8::1/128');
    assert.equal(checkPrefix('0.0.0.0/0').text, '0.0.0.0/0');
    for (const wrong of [
      '',
      '1.2.3',
      '1.2.3.4/33',
      '1.2.3.4/',
      '1.2.3.4/1/2',
      'fe80::1%lo',
      '::/129',
      '0x7f.1',
      'a',
    ])
      assert.throws(() => checkPrefix(wrong), { code: 'EINVAL' }, wrong);
  });

  it('device names are the kernel’s', () => {
    assert.equal(checkDevice('lisp0.1-a_b'), 'lisp0.1-a_b');
    for (const wrong of ['', '.', '..', '-x', 'a b', 'a/b', '0123456789abcdef', 'a\n'])
      assert.throws(() => checkDevice(wrong), { code: 'EINVAL' }, wrong);
  });

  it('only our sysctls, only our values', () => {
    assert.equal(checkSysctl('net.mptcp.path_manager', 'kernel'), 'net.mptcp.path_manager');
    for (const [name, value] of [
      ['net.mptcp.path_manager', 'x'],
      ['kernel.core_pattern', '1'],
      ['toString', '1'],
      ['net.ipv4.ip_forward', '0'],
    ])
      assert.throws(() => checkSysctl(name!, value!), { code: 'EINVAL' });
  });

  it('ports one by one', () =>
    assert.deepEqual(
      eachPort([
        { from: 3, to: 5 },
        { from: 4, to: 6 },
        { from: 1, to: 1 },
      ]),
      [1, 3, 4, 5, 6],
    ));
});

it('parseBypass reads addresses, prefixes and what is left of their time', () =>
  assert.deepEqual(
    parseBypass(
      '{"nftables":[{"metainfo":{}},{"set":{"elem":[{"elem":{"val":{"prefix":{"addr":"10.0.0.0","len":8}},"timeout":10,"expires":9}},{"elem":{"val":"192.0.2.1","timeout":5,"expires":4}}]}}]}',
    ),
    [
      { prefix: '10.0.0.0/8', expiresInSeconds: 9 },
      { prefix: '192.0.2.1/32', expiresInSeconds: 4 },
    ],
  ));

const descriptors: HostDescriptors = {
  openTun: (device) => ({ device, descriptor: 9 }),
  openListener: () => 8,
  close: () => undefined,
};

describe('LocalHostNetwork', () => {
  const recorder = (): {
    host: LocalHostNetwork;
    ran: string[];
    fail: (pattern: RegExp | undefined) => void;
  } => {
    const ran: string[] = [];
    let failing: RegExp | undefined;
    const host = new LocalHostNetwork(descriptors, async (program, args) => {
      const line = [program, ...args].join(' ');
      if (failing?.test(line)) throw new PlatformError(`${line}: no`, 'EINVAL');
      ran.push(line);
      return '';
    });
    return { host, ran, fail: (pattern) => (failing = pattern) };
  };

  it('takes back in reverse order', async () => {
    const { host, ran } = recorder();
    await host.setLocalPrefixes(['192.0.2.0/28', '2001:db8::/64']);
    await host.setRlocRoutes([{ address: '203.0.113.2', gateway: '203.0.113.1', interface: 'em1' }]);
    ran.length = 0;
    await host.close();
    assert.deepEqual(ran, [
      'ip -4 rule del pref 4350 from 203.0.113.2 lookup 4350 proto 143',
      'ip -4 route del default via 203.0.113.1 dev em1 table 4350 proto 143',
      'ip -6 route del local 2001:db8::/64 dev lo table local proto 143',
      'ip -4 route del local 192.0.2.0/28 dev lo table local proto 143',
    ]);
    ran.length = 0;
    await host.close();
    assert.deepEqual(ran, []);
  });

  it('a repeated call changes only what differs', async () => {
    const { host, ran } = recorder();
    await host.setLocalPrefixes(['192.0.2.0/28', '192.0.2.16/28']);
    ran.length = 0;
    await host.setLocalPrefixes(['192.0.2.16/28', '192.0.2.32/28']);
    assert.deepEqual(ran, [
      'ip -4 route replace local 192.0.2.32/28 dev lo table local proto 143',
      'ip -4 route del local 192.0.2.0/28 dev lo table local proto 143',
    ]);
  });

  it('an RLOC keeps its table when others come and go', async () => {
    const { host, ran } = recorder();
    const a = { address: '203.0.113.2', gateway: '203.0.113.1' };
    const b = { address: '203.0.114.2', gateway: '203.0.114.1' };
    await host.setRlocRoutes([a, b]);
    await host.setRlocRoutes([b]);
    ran.length = 0;
    await host.setRlocRoutes([b, a]);
    assert.deepEqual(ran, [
      // The kernel forgets a route with its interface: it is made to be there each time.
      'ip -4 route replace default via 203.0.114.1 table 4351 proto 143',
      'ip -4 route replace default via 203.0.113.1 table 4350 proto 143',
      'ip -4 rule add pref 4350 from 203.0.113.2 lookup 4350 proto 143',
    ]);
  });

  it('a route of an RLOC whose interface is down does not stop the others', async () => {
    const { host, ran, fail } = recorder();
    const a = { address: '203.0.113.2', gateway: '203.0.113.1' };
    const b = { address: '203.0.114.2', gateway: '203.0.114.1' };
    await host.setRlocRoutes([a]);
    ran.length = 0;
    fail(/113\.1 table/);
    await host.setRlocRoutes([a, b]);
    assert.ok(ran.includes('ip -4 route replace default via 203.0.114.1 table 4351 proto 143'));
  });

  it('a failed first interception leaves nothing', async () => {
    const { host, ran, fail } = recorder();
    fail(/^nft/);
    await assert.rejects(host.setInterception(request), { code: 'EINVAL' });
    const undone = ran.filter((line) => / (add|replace) /.test(line)).length;
    assert.equal(ran.filter((line) => line.includes(' del ')).length, undone);
    ran.length = 0;
    await host.close();
    assert.deepEqual(ran, []);
  });

  it('refuses before it does anything', async () => {
    const { host, ran } = recorder();
    await assert.rejects(host.setDevice('x y', { routes: [], markedTraffic: false }), { code: 'EINVAL' });
    await assert.rejects(host.setLocalPrefixes(['192.0.2.0/28', 'x']), { code: 'EINVAL' });
    await assert.rejects(host.setRlocRoutes([{ address: '203.0.113.2', gateway: '2001:db8::1' }]), {
      code: 'EINVAL',
    });
    await assert.rejects(host.addBypass('192.0.2.1', 0), { code: 'EINVAL' });
    await assert.rejects(host.openTun({ device: 'lisp0', queues: 65, vnetHeader: true }), { code: 'EINVAL' });
    assert.deepEqual(ran, []);
  });
});
