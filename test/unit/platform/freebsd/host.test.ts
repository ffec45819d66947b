// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasAnchor, LocalFreeBsdHost, localAddresses } from '../../../../src/platform/freebsd/host.js';
import { PlatformError } from '../../../../src/platform/platform.js';

const CLIENTS = {
  interfaces: ['em1'],
  ports: [{ from: 443, to: 443 }],
  include: ['198.18.2.0/24'],
  exclude: [],
  divert: true,
  servers: false,
};

/** Answers by the beginning of the command; an Error is thrown. */
function world(answers: Record<string, string | Error> = {}): {
  host: LocalFreeBsdHost;
  calls: string[];
  inputs: string[];
} {
  const calls: string[] = [];
  const inputs: string[] = [];
  const known: Record<string, string | Error> = {
    'pfctl -s info': 'Status: Enabled for 0 days',
    'pfctl -s rules': 'block drop all\nanchor "amptcp" all\n',
    'ifconfig -l': 'em0 em1 lo0',
    'sysctl -n net.fibs': '1\n',
    ...answers,
  };
  const host = new LocalFreeBsdHost(
    {
      divert: (port) => port,
      device: (path) => path.length,
      transparent: (family) => family,
      flush: (pf, anchor) => void calls.push(`flush ${anchor} by ${pf}`),
    },
    async (command, args, input) => {
      const line = [command.replace(/^.*\//, ''), ...args].join(' ');
      calls.push(line);
      if (input !== undefined) inputs.push(input);
      const answer = Object.entries(known).find(([beginning]) => line.startsWith(beginning))?.[1] ?? '';
      if (answer instanceof Error) throw answer;
      return answer;
    },
  );
  return { host, calls, inputs };
}

test('modules are loaded before their devices are opened', async () => {
  const { host, calls } = world({ 'kldstat -q -n pf.ko': new Error('not there') });
  assert.equal(await host.open('divert'), 4340);
  await host.open('tproxy');
  await host.open('lisp');
  assert.deepEqual(calls, [
    'kldstat -q -n pf.ko',
    'kldload -n pf',
    'kldstat -q -n ipdivert.ko',
    'kldstat -q -n tproxy.ko',
    'kldstat -q -n lisp.ko',
  ]);
});

test("the gateway's addresses are the LISP device's, and its sockets have a table of their own", async () => {
  const { host, calls } = world();
  await host.setLocalPrefixes(['192.0.2.0/30', '2001:db8:9::/127']);
  assert.deepEqual(calls, []);
  await host.create('lisp0');
  calls.length = 0;
  await host.configure('lisp0', { mtu: 1444, routes: [], previous: [] });
  assert.deepEqual(calls, [
    'ifconfig lisp0 inet 192.0.2.1/32 alias',
    'ifconfig lisp0 inet 192.0.2.2/32 alias',
    'ifconfig lisp0 inet6 2001:db8:9:: prefixlen 128 no_dad alias',
    'ifconfig lisp0 inet6 2001:db8:9::1 prefixlen 128 no_dad alias',
    'ifconfig lisp0 mtu 1444 up',
    'sysctl -n net.fibs',
    'sysctl net.fibs=2',
    'route -q -n delete -inet -fib 1 default',
    'route -q -n add -inet -fib 1 default -interface lisp0',
    'route -q -n delete -inet6 -fib 1 default',
    'route -q -n add -inet6 -fib 1 default -interface lisp0',
    'pfctl -q -a amptcp -f -',
  ]);
  calls.length = 0;
  await host.setLocalPrefixes(['192.0.2.0/30']);
  assert.deepEqual(calls.slice(0, 2), [
    'ifconfig lisp0 inet6 2001:db8:9:: -alias',
    'ifconfig lisp0 inet6 2001:db8:9::1 -alias',
  ]);
});

test("connections in clients' names have the table of routes, which needs some address", async () => {
  const { host, calls, inputs } = world();
  await host.setClientPrefixes(['198.18.1.0/24', '2001:db8:1::/64']);
  await host.create('lisp0');
  calls.length = 0;
  await host.configure('lisp0', { mtu: 1444, routes: [], previous: [] });
  assert.deepEqual(calls.slice(0, 3), [
    'ifconfig lisp0 inet 192.0.0.8/32 alias',
    'ifconfig lisp0 inet6 100::1 prefixlen 128 no_dad alias',
    'ifconfig lisp0 mtu 1444 up',
  ]);
  assert.ok(calls.includes('route -q -n add -inet -fib 1 default -interface lisp0'));
  assert.ok(calls.includes('route -q -n add -inet6 -fib 1 default -interface lisp0'));
  calls.length = 0;
  await host.setLocalPrefixes(['192.0.2.0/31']);
  assert.deepEqual(
    calls.filter((call) => call.startsWith('ifconfig')),
    [
      'ifconfig lisp0 inet 192.0.2.0/32 alias',
      'ifconfig lisp0 inet 192.0.2.1/32 alias',
      'ifconfig lisp0 inet 192.0.0.8 -alias',
    ],
  );
  assert.match(inputs.at(-1)!, /amptcp_clients/);
  assert.deepEqual(await host.openTransparent(6, 3, false), [6, 6, 6]);
  await assert.rejects(host.openTransparent(4, 65, false), { code: 'EINVAL' });
  await host.setClientPrefixes([]);
  assert.doesNotMatch(inputs.at(-1)!, /amptcp_clients/);
});

test('a router of others has an address on the LISP device for its routes, and no sockets', async () => {
  const { host, calls } = world();
  await host.create('lisp0');
  calls.length = 0;
  await host.configure('lisp0', { mtu: 1444, routes: ['192.0.2.0/28'], previous: [] });
  assert.deepEqual(calls, [
    'ifconfig lisp0 inet 192.0.0.8/32 alias',
    'ifconfig lisp0 mtu 1444 up',
    'route -q -n add -inet -net 192.0.2.0/28 -interface lisp0',
    'pfctl -q -a amptcp -f -',
  ]);
});

test('a wide prefix gives as many addresses as are worth having', () => {
  const addresses = localAddresses('192.0.2.0/24');
  assert.equal(addresses.length, 16);
  assert.deepEqual([addresses[0], addresses[15]], ['192.0.2.1', '192.0.2.16']);
  assert.deepEqual(localAddresses('192.0.2.7/32'), ['192.0.2.7']);
});

test('rules: pf runs and has the anchor, or it is said what is missing', async () => {
  const { host, inputs } = world();
  await host.setInterception(CLIENTS);
  assert.match(inputs.at(-1)!, /divert-to/);
  await assert.rejects(
    world({ 'pfctl -s info': 'Status: Disabled' }).host.setInterception(CLIENTS),
    /pf_enable/,
  );
  await assert.rejects(
    world({ 'pfctl -s rules': 'pass all\nanchor "ftp-proxy/*" all' }).host.setInterception(CLIENTS),
    /anchor "amptcp"/,
  );
  assert.ok(hasAnchor('  anchor "*" all'));
});

test('rules that pf refuses leave those before; what is left alone stays so', async () => {
  const answers: Record<string, string | Error> = {};
  const { host, inputs } = world(answers);
  await host.setInterception(CLIENTS);
  await host.addBypass('198.18.2.7/32');
  await assert.rejects(host.setInterception({ ...CLIENTS, include: ['nonsense'] }), { code: 'EINVAL' });
  await host.setRlocRoutes([{ address: '203.0.113.2' }]);
  assert.match(inputs.at(-1)!, /198\.18\.2\.0\/24/);
  assert.match(inputs.at(-1)!, /amptcp_bypass> persist { 198\.18\.2\.7\/32 }/);
  assert.match(inputs.at(-1)!, /203\.0\.113\.2/);
});

test('a host without pf is no trouble to who takes no clients', async () => {
  const { host } = world({ pfctl: new PlatformError('pfctl: /dev/pf: No such file or directory', 'EIO') });
  await host.create('lisp0');
  await host.configure('lisp0', { mtu: 1444, routes: [], previous: [] });
  await host.close();
});

test("switches of lisp(4) that are the daemon's to set", async () => {
  const { host, calls } = world();
  await host.setSwitch('glean', 1);
  assert.deepEqual(calls, ['sysctl net.inet.lisp.glean=1']);
  await assert.rejects(host.setSwitch('x=1 kern.securelevel', 1), { code: 'EINVAL' });
});

test('the end: anchor, device', async () => {
  const { host, calls } = world();
  await host.create('lisp0');
  await host.setInterception(CLIENTS);
  calls.length = 0;
  await host.close();
  assert.deepEqual(calls, [
    // What cannot wait for a program to start, by a descriptor of /dev/pf.
    'flush amptcp by 7',
    'pfctl -q -a amptcp -F rules',
    'pfctl -q -a amptcp -F Tables',
    'ifconfig lisp0 destroy',
  ]);
});
