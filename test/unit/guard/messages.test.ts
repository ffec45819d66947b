// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type GuardCall,
  InvalidMessage,
  packPrograms,
  parseCall,
  unpackPrograms,
} from '../../../src/guard/messages.js';

const calls: GuardCall[] = [
  { id: 1, type: 'open-tun', request: { device: 'lisp0', queues: 2, vnetHeader: true } },
  {
    id: 2,
    type: 'set-device',
    device: 'lisp0',
    settings: { mtu: 1400, routes: ['198.18.0.0/15'], markedTraffic: true },
  },
  { id: 3, type: 'set-local-prefixes', prefixes: ['192.0.2.0/28'] },
  {
    id: 4,
    type: 'set-rloc-routes',
    rlocs: [{ address: '203.0.113.2', interface: 'em1', gateway: '203.0.113.1' }],
  },
  { id: 5, type: 'set-interception', request: 'none' },
  { id: 6, type: 'set-interception', request: 'delivery-only' },
  {
    id: 7,
    type: 'set-interception',
    request: {
      interfaces: ['em0'],
      ports: [{ from: 80, to: 443 }],
      include: [],
      exclude: ['10.0.0.0/8'],
      listeners: { v4: 4000, v6: 4001 },
    },
  },
  {
    id: 8,
    type: 'set-interception',
    request: { interfaces: [], ports: [], include: [], exclude: [], listeners: 'original' },
  },
  { id: 9, type: 'add-bypass', prefix: '198.18.0.0/16', ttlSeconds: 60 },
  { id: 10, type: 'remove-bypass', prefix: '198.18.0.0/16' },
  { id: 11, type: 'list-bypass' },
  { id: 12, type: 'listen', request: { family: 4, port: 80, protocol: 'mptcp', backlog: 10 } },
  { id: 13, type: 'listen-unix', request: { path: '/run/x/y', mode: 0o660, group: 'amptcp' } },
  { id: 14, type: 'set-sysctl', name: 'net.mptcp.path_manager', value: 'userspace' },
  { id: 15, type: 'clean', device: 'lisp0' },
  { id: 16, type: 'close' },
  { id: 17, type: 'load-lisp-programs' },
];

describe('parseCall', () => {
  for (const call of calls)
    it(`${call.type} ${call.id}`, () => assert.deepEqual(parseCall(JSON.parse(JSON.stringify(call))), call));

  it('lets nothing pass that was not asked for', () => {
    const call = parseCall({ id: 1, type: 'close', extra: 1, __proto__: { polluted: true } });
    assert.deepEqual(call, { id: 1, type: 'close' });
  });

  it('refuses every field of a wrong type', () => {
    for (const call of calls)
      for (const path of leaves(call))
        for (const wrong of [null, {}, [{}], Symbol.iterator, () => 0]) {
          const changed = structuredClone(call) as unknown as Record<string, unknown>;
          let at = changed;
          for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
          at[path.at(-1)!] = wrong;
          assert.throws(() => parseCall(changed), InvalidMessage, `${call.type} ${path.join('.')}`);
        }
  });

  it('refuses anything else', () => {
    for (const value of [
      undefined,
      null,
      1,
      'close',
      [],
      {},
      { id: 1 },
      { id: 1, type: 'reboot' },
      { id: 1, type: '__proto__' },
    ])
      assert.throws(() => parseCall(value), InvalidMessage);
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          parseCall(value);
        } catch (error) {
          assert.ok(error instanceof InvalidMessage);
        }
      }),
    );
  });
});

describe('eBPF programs on their way to the daemon', () => {
  const map = { keySize: 4, valueSize: 8, maxEntries: 16 };
  const loaded = {
    maps: { first: { ...map, descriptor: 31 }, second: { ...map, descriptor: 30 } },
    programs: { one: 40 },
  };

  it('names each descriptor by its place beside the message', () => {
    const { result, descriptors } = packPrograms(loaded);
    assert.deepEqual(descriptors, [31, 30, 40]);
    assert.deepEqual(result, {
      maps: { first: { ...map, descriptor: 0 }, second: { ...map, descriptor: 1 } },
      programs: { one: 2 },
    });
    // They have other numbers where they arrive.
    assert.deepEqual(unpackPrograms(result, [7, 8, 9]), {
      maps: { first: { ...map, descriptor: 7 }, second: { ...map, descriptor: 8 } },
      programs: { one: 9 },
    });
  });

  it('refuses what names a descriptor that did not come', () => {
    assert.throws(() => unpackPrograms(packPrograms(loaded).result, [7, 8]), InvalidMessage);
  });
});

function leaves(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}
