// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  actFreeBsd,
  FreeBsdGuardHost,
  parseFreeBsdCall,
  type FreeBsdCall,
} from '../../../src/guard/freebsd.js';
import { parseCall } from '../../../src/guard/messages.js';
import type { FreeBsdHost } from '../../../src/platform/freebsd/host.js';

const CALLS: FreeBsdCall[] = [
  { call: 'open', what: 'divert' },
  { call: 'open', what: 'pf' },
  { call: 'create', device: 'lisp0' },
  { call: 'configure', device: 'lisp0', settings: { mtu: 1444, routes: ['198.18.0.0/15'], previous: [] } },
  { call: 'destroy', device: 'lisp0' },
  { call: 'set-rloc-routes', rlocs: [{ address: '203.0.113.2', interface: 'em1', gateway: '203.0.113.1' }] },
  { call: 'set-local-prefixes', prefixes: ['192.0.2.0/28'] },
  { call: 'set-interception' },
  {
    call: 'set-interception',
    interception: {
      interfaces: ['em0'],
      ports: [{ from: 80, to: 80 }],
      include: ['198.18.0.0/15'],
      exclude: [],
      divert: true,
      servers: false,
    },
  },
  { call: 'add-bypass', prefix: '198.18.4.0/24' },
  { call: 'remove-bypass', prefix: '198.18.4.0/24' },
  { call: 'set-switch', name: 'glean', value: 1 },
];

test('each call arrives as it was sent, and nothing beside it', () => {
  for (const call of CALLS) {
    assert.deepEqual(parseFreeBsdCall(JSON.parse(JSON.stringify(call))), call);
    assert.deepEqual(parseFreeBsdCall({ ...call, extra: 1 }), call);
    assert.deepEqual(parseCall({ id: 1, type: 'freebsd', call }), { id: 1, type: 'freebsd', call });
  }
});

test('what is not a call is refused before anything is done', () => {
  for (const wrong of [
    undefined,
    'open',
    [],
    {},
    { call: 'reboot' },
    { call: 'open', what: '/etc/master.passwd' },
    { call: 'create', device: 'lisp0; reboot' },
    { call: 'configure', device: 'lisp0', settings: { mtu: '1', routes: [], previous: [] } },
    { call: 'configure', device: 'lisp0', settings: { mtu: 1, routes: ['-h'], previous: [] } },
    { call: 'set-local-prefixes', prefixes: 'all' },
    {
      call: 'set-interception',
      interception: { ...(CALLS[8] as { interception: object }).interception, divert: 1 },
    },
    { call: 'add-bypass', prefix: '198.18.4.0/24 }' },
    { call: 'set-switch', name: 'glean', value: -1 },
    { call: 'open-transparent', family: 5, count: 1, mptcp: false },
    { call: 'open-transparent', family: 4, count: 1 },
    { call: 'set-client-prefixes', prefixes: ['198.18.1.0/24 }'] },
  ])
    assert.throws(() => parseFreeBsdCall(wrong), { code: 'EINVAL' }, JSON.stringify(wrong));
});

test('the daemon steers the interfaces it has made, and no other', async () => {
  const done: string[] = [];
  const note =
    (name: string) =>
    async (...words: unknown[]): Promise<void> =>
      void done.push([name, ...words.map((word) => JSON.stringify(word))].join(' '));
  const host = {
    open: async () => 7,
    openTransparent: async (family: number, count: number) =>
      Array.from({ length: count }, (_, n) => family * 10 + n),
    setClientPrefixes: note('setClientPrefixes'),
    create: async (name: string) => name,
    configure: note('configure'),
    destroy: note('destroy'),
    setSwitch: note('setSwitch'),
  } as Partial<FreeBsdHost> as FreeBsdHost;
  const devices = new Set<string>();
  const daemon = new FreeBsdGuardHost(
    async (call) => {
      const { device, descriptors } = await actFreeBsd(host, devices, parseFreeBsdCall(call));
      return { result: { device }, descriptors: descriptors ?? [] };
    },
    { clean: note('clean'), close: note('close') },
  );
  assert.equal(await daemon.open('divert'), 7);
  assert.deepEqual(await daemon.openTransparent(6, 2, true), [60, 61]);
  await daemon.setClientPrefixes(['198.18.1.0/24']);
  await assert.rejects(daemon.destroy('lisp0'), { code: 'EACCES' });
  assert.equal(await daemon.create('lisp0'), 'lisp0');
  await daemon.configure('lisp0', { mtu: 1444, routes: [], previous: [] });
  await daemon.setSwitch('glean', 0);
  await daemon.destroy('lisp0');
  await assert.rejects(daemon.configure('lisp0', { mtu: 1444, routes: [], previous: [] }), {
    code: 'EACCES',
  });
  await daemon.close();
  assert.deepEqual(done, [
    'setClientPrefixes ["198.18.1.0/24"]',
    'configure "lisp0" {"mtu":1444,"routes":[],"previous":[]}',
    'setSwitch "glean" 0',
    'destroy "lisp0"',
    'close',
  ]);
});
