// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  anchorRules,
  captureRules,
  MAX_CAPTURE_RULES,
  type AnchorSettings,
  type Interception,
} from '../../../../src/platform/freebsd/pf-rules.js';

const CLIENTS: Interception = {
  interfaces: ['em1'],
  ports: [
    { from: 80, to: 80 },
    { from: 443, to: 444 },
  ],
  include: ['198.18.0.0/16', '2001:db8:2::/64'],
  exclude: ['198.18.9.0/24'],
  divert: true,
  servers: false,
};
const SETTINGS: AnchorSettings = {
  interception: CLIENTS,
  device: 'lisp0',
  localPrefixes: ['192.0.2.0/30'],
  clientPrefixes: [],
  rlocs: [{ address: '203.0.113.2', interface: 'em2', gateway: '203.0.113.1' }, { address: '2001:db8:f::2' }],
  bypass: ['198.18.4.0/24'],
};

test('the whole anchor', () => {
  assert.equal(
    anchorRules(SETTINGS),
    `table <amptcp_bypass> persist { 198.18.4.0/24 }
table <amptcp_local> persist { 192.0.2.0/30 }
table <amptcp_include> persist { 198.18.0.0/16, 2001:db8:2::/64 }
table <amptcp_exclude> persist { 198.18.9.0/24 }
match in on em1 proto tcp from any to <amptcp_include> port { 80, 443:444 } flags any tag amptcp_in
match in on em1 proto tcp from any to <amptcp_exclude> flags any tagged amptcp_in tag amptcp_no
pass in quick on em1 inet proto tcp from any to ! <amptcp_bypass> flags S/SA tagged amptcp_in no state divert-to 127.0.0.1 port 4340
pass in quick on em1 proto tcp all flags any tagged amptcp_in no state
match out on em1 proto tcp from <amptcp_include> port { 80, 443:444 } to any flags any tag amptcp_out
match out on em1 proto tcp from <amptcp_exclude> to any flags any tagged amptcp_out tag amptcp_no
pass out quick on em1 proto tcp all flags any tagged amptcp_out no state
pass in quick on em1 inet proto icmp all icmp-type { unreach, timex } no state
pass in quick on em1 inet6 proto icmp6 all icmp6-type { unreach, toobig, timex } no state
pass out quick on em1 inet proto icmp all icmp-type { unreach, timex } no state
pass out quick on em1 inet6 proto icmp6 all icmp6-type { unreach, toobig, timex } no state
pass out quick on lisp0 from <amptcp_local> to any flags any no state
pass in quick on lisp0 from any to <amptcp_local> flags any no state
pass out quick on ! em2 route-to (em2 203.0.113.1) proto udp from 203.0.113.2 to any port 4341:4342 no state
pass out quick proto udp from { 203.0.113.2, 2001:db8:f::2 } to any port 4341:4342 no state
pass in quick proto udp from any to { 203.0.113.2, 2001:db8:f::2 } port 4341:4342 no state
pass in quick inet proto icmp from any to 203.0.113.2 icmp-type unreach no state
pass in quick inet6 proto icmp6 from any to 2001:db8:f::2 icmp6-type { unreach, toobig } no state
`,
  );
});

test('everything, everywhere, every port', () => {
  const text = anchorRules({
    ...SETTINGS,
    interception: { interfaces: [], ports: [], include: [], exclude: [], divert: true, servers: false },
    bypass: [],
  });
  assert.match(text, /^table <amptcp_include> persist { 0\.0\.0\.0\/0, ::\/0 }$/m);
  assert.match(text, /^table <amptcp_exclude> persist$/m);
  assert.match(text, /^match in on ! lisp0 proto tcp from any to <amptcp_include> flags any tag amptcp_in$/m);
});

test('servers the gateway itself connects to, by whatever interface: answers pass, and nothing that begins a connection', () => {
  const text = anchorRules({ ...SETTINGS, interception: { ...CLIENTS, interfaces: [], servers: true } });
  assert.match(text, /^match in proto tcp from any to <amptcp_include> port/m);
  const lines = text.split('\n');
  assert.deepEqual(
    lines.filter((line) => /amptcp_(to|from)/.test(line)),
    [
      'match out proto tcp from any to <amptcp_include> port { 80, 443:444 } flags any tag amptcp_to',
      'match out proto tcp from any to <amptcp_exclude> flags any tagged amptcp_to tag amptcp_no',
      'pass out quick proto tcp all flags any tagged amptcp_to no state',
      'match in proto tcp from <amptcp_include> port { 80, 443:444 } to any flags any tag amptcp_from',
      'match in proto tcp from <amptcp_exclude> to any flags any tagged amptcp_from tag amptcp_no',
      'pass in quick proto tcp all flags A/A tagged amptcp_from no state',
      'pass in quick proto tcp all flags R/R tagged amptcp_from no state',
    ],
  );
  // What clients send has been decided about before.
  assert.ok(
    lines.findIndex((line) => line.includes('tagged amptcp_in no state')) <
      lines.findIndex((line) => line.includes('amptcp_to')),
  );
  assert.match(text, /^pass in quick inet proto icmp all icmp-type { unreach, timex } no state$/m);
});

test('with nothing to be taken any more, what is proxied goes on', () => {
  const text = anchorRules({ ...SETTINGS, interception: { ...CLIENTS, divert: false } });
  assert.doesNotMatch(text, /divert-to/);
  assert.match(text, /^pass in quick on em1 proto tcp all flags any tagged amptcp_in no state$/m);
});

test('without clients, EIDs and RLOCs there is a table and no rule', () => {
  assert.equal(
    anchorRules({ device: 'lisp0', localPrefixes: [], clientPrefixes: [], rlocs: [], bypass: [] }),
    'table <amptcp_bypass> persist\n',
  );
});

test("connections in clients' names: what answers them, and nothing that begins one", () => {
  const text = anchorRules({ ...SETTINGS, clientPrefixes: ['198.18.1.0/24', '2001:db8:1::/64'] });
  assert.match(text, /^table <amptcp_clients> persist { 198\.18\.1\.0\/24, 2001:db8:1::\/64 }$/m);
  assert.deepEqual(
    text.split('\n').filter((line) => line.startsWith('pass') && line.includes('<amptcp_clients>')),
    [
      'pass out quick on lisp0 proto tcp from <amptcp_clients> to any flags any no state',
      'pass in quick on lisp0 proto tcp from any to <amptcp_clients> flags A/A no state',
      'pass in quick on lisp0 proto tcp from any to <amptcp_clients> flags R/R no state',
    ],
  );
});

test('what is no address, prefix, port or interface gets into no rule', () => {
  const bad: Partial<AnchorSettings>[] = [
    { device: 'lisp0 from' },
    { bypass: ['198.18.4.0/24 }\nblock all'] },
    { bypass: ['198.18.4.0/33'] },
    { bypass: ['198.18.4/24'] },
    { localPrefixes: ['fe80::1%em0/128'] },
    { clientPrefixes: ['198.18.1.0/24 }'] },
    { interception: { ...CLIENTS, interfaces: ['em1; pass'] } },
    { interception: { ...CLIENTS, ports: [{ from: 0, to: 80 }] } },
    { interception: { ...CLIENTS, ports: [{ from: 90, to: 80 }] } },
    { interception: { ...CLIENTS, include: ['any'] } },
    { rlocs: [{ address: '203.0.113.2', interface: 'em2', gateway: 'em3' }] },
    { rlocs: [{ address: '203.0.113.2', gateway: '203.0.113.1' }] },
  ];
  for (const change of bad)
    assert.throws(() => anchorRules({ ...SETTINGS, ...change }), { code: 'EINVAL' }, JSON.stringify(change));
});

test('tproxy(4) is told of IPv6 only: exclusions, then what is left alone, then what is held', () => {
  const rules = captureRules({ ...CLIENTS, exclude: ['2001:db8:2::9', '192.0.2.1'] }, [
    '2001:db8:2::77/128',
    '198.18.4.0/24',
  ]);
  assert.deepEqual(rules, [
    { prefix: '2001:db8:2::9/128', from: 1, to: 65535, interface: '', capture: false },
    { prefix: '2001:db8:2::77/128', from: 1, to: 65535, interface: '', capture: false },
    { prefix: '2001:db8:2::/64', from: 80, to: 80, interface: 'em1', capture: true },
    { prefix: '2001:db8:2::/64', from: 443, to: 444, interface: 'em1', capture: true },
  ]);
  assert.deepEqual(captureRules(undefined, []), []);
  assert.deepEqual(captureRules({ ...CLIENTS, divert: false }, []), []);
  assert.deepEqual(captureRules({ ...CLIENTS, include: ['192.0.2.0/24'] }, ['2001:db8::/32']), []);
});

test('the newest of too many destinations to leave alone; too many rules are an error', () => {
  const bypass = Array.from({ length: 100 }, (_, n) => `2001:db8:2::${n.toString(16)}/128`);
  const rules = captureRules(CLIENTS, bypass);
  assert.equal(rules.length, MAX_CAPTURE_RULES);
  assert.equal(rules[MAX_CAPTURE_RULES - 3]?.prefix, '2001:db8:2::63/128');
  const ports = (count: number): { from: number; to: number }[] =>
    Array.from({ length: count }, (_, n) => ({ from: n + 1, to: n + 1 }));
  assert.ok(captureRules({ ...CLIENTS, ports: ports(64) }, bypass).every(({ capture }) => capture));
  assert.throws(() => captureRules({ ...CLIENTS, ports: ports(65) }, []), { code: 'E2BIG' });
});
