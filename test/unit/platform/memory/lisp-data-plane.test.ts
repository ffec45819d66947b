// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type { Mapping } from '../../../../src/lisp/mapping.js';
import { nativePart } from '../../../../src/native/index.js';
import { VirtualClock } from '../../../../src/platform/memory/clock.js';
import { MemoryLispDataPlane, type OuterPacket } from '../../../../src/platform/memory/lisp-data-plane.js';
import type { PlaneEvent, PlaneOptions } from '../../../../src/platform/platform.js';

const VECTORS = fileURLToPath(new URL('../../../../../test/vectors/lisp-data.txt', import.meta.url));

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString('hex');

const mapping = (eid: string, ...rlocs: string[]): Mapping => ({
  iid: 0,
  eid,
  locators: rlocs.map((rloc) => ({ rloc, priority: 1, weight: 50, reachable: true })),
  action: 'no-action',
  ttlSeconds: Infinity,
  source: 'static',
});

interface Site {
  plane: MemoryLispDataPlane;
  outer: OuterPacket[];
  inner: Uint8Array[];
  events: PlaneEvent[];
}

async function site(options: Partial<PlaneOptions> = {}, mappings: Mapping[] = []): Promise<Site> {
  const outer: OuterPacket[] = [];
  const inner: Uint8Array[] = [];
  const events: PlaneEvent[] = [];
  const plane = new MemoryLispDataPlane(new VirtualClock(), {
    outer: (packet) => outer.push(packet),
    inner: (packet) => inner.push(packet),
  });
  await plane.start(
    {
      device: 'lisp0',
      iid: 0,
      localRlocs: ['203.0.113.2', '203.0.114.2'],
      localEids: ['192.0.2.0/28'],
      routes: ['198.18.0.0/15'],
      mtu: 1464,
      sourceCheck: true,
      glean: true,
      ...options,
    },
    (event) => events.push(event),
  );
  for (const one of mappings) plane.setMapping(one);
  return { plane, outer, inner, events };
}

/** 192.0.2.1:33000 -> 198.18.1.10:443, SYN, DF, TTL 64. */
const SYN = Buffer.from(
  '452a00281234400040069f54c0000201c612010a80e801bb00000001000000005002ffff00000000',
  'hex',
);
/** The answer to it. */
const SYN_ACK = Buffer.from(
  '450200281234400040069f7cc612010ac000020101bb80e800000009000000025012ffff00000000',
  'hex',
);
const FLOW = {
  local: { address: '192.0.2.1', port: 33_000 },
  remote: { address: '198.18.1.10', port: 443 },
};
const LISP = Buffer.alloc(8);
const fromServer = (local: string, remote: string): OuterPacket => ({
  local,
  remote: { address: remote, port: 50_000 },
  data: Buffer.concat([LISP, SYN_ACK]),
});

describe('vectors shared with the C core', async () => {
  const records = readFileSync(VECTORS, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(' '));
  const all = (kind: string): string[][] => records.filter(([first]) => first === kind);
  const fresh = (): Promise<Site> =>
    site(
      {
        localRlocs: all('rloc').map(([, rloc]) => rloc!),
        localEids: all('eid').map(([, eid]) => eid!),
        routes: [],
      },
      all('mapping').map(([, eid, rlocs]) =>
        mapping(eid!, ...rlocs!.split(',').filter((rloc) => rloc !== '-')),
      ),
    );
  const judge = ({ plane, events }: Site, got: Uint8Array | undefined, want: string): void => {
    if (want === 'miss') assert.equal(events[0]?.type, 'miss');
    else if (want.startsWith('drop:')) assert.deepEqual(plane.stats().drops, { [want.slice(5)]: 1 });
    else assert.equal(hex(got), want);
  };

  for (const [, name, inner, want] of all('encap'))
    test(`encapsulate: ${name}`, async () => {
      const one = await fresh();
      one.plane.input(Buffer.from(inner!, 'hex'));
      judge(one, one.outer[0]?.data, want!);
    });

  for (const [, name, source, local, tos, ttl, payload, want] of all('decap'))
    test(`decapsulate: ${name}`, async () => {
      const one = await fresh();
      one.plane.receive({
        local: local!,
        remote: { address: source!, port: 50_000 },
        tos: Number(tos),
        ttl: Number(ttl),
        data: Buffer.from(payload!, 'hex'),
      });
      judge(one, one.inner[0], want!);
    });
});

test('a packet waits for its mapping and then goes', async () => {
  const { plane, outer, events } = await site();
  plane.input(SYN);
  assert.deepEqual(events, [{ type: 'miss', iid: 0, eid: '198.18.1.10', reason: 'encapsulate' }]);
  assert.equal(plane.stats().queued, 1);
  plane.setMapping(mapping('198.18.0.0/16', '203.0.123.2'));
  assert.equal(plane.stats().queued, 0);
  assert.equal(outer.length, 1);
  assert.equal(outer[0]!.remote.address, '203.0.123.2');
  assert.equal(outer[0]!.remote.port, 4341);
});

test('a packet waits for the mapping of its source', async () => {
  const { plane, inner, events } = await site();
  plane.receive(fromServer('203.0.113.2', '203.0.123.2'));
  assert.deepEqual(events, [{ type: 'miss', iid: 0, eid: '198.18.1.10', reason: 'source-check' }]);
  plane.setMapping(mapping('198.18.0.0/16', '203.0.123.2'));
  assert.deepEqual(inner.map(hex), [hex(SYN_ACK)]);
});

test('a packet for an EID that is not of this site is told of, once in a while', async () => {
  const { plane, inner, events } = await site({ localEids: ['192.0.2.128/28'] }, [
    mapping('198.18.0.0/16', '203.0.123.2'),
  ]);
  for (let index = 0; index < 5; index++) plane.receive(fromServer('203.0.113.2', '203.0.123.2'));
  assert.deepEqual(inner, []);
  assert.equal(plane.stats().drops['not-local'], 5);
  assert.deepEqual(events, [
    { type: 'stray', iid: 0, source: '198.18.1.10', destination: '192.0.2.1', rloc: '203.0.123.2' },
  ]);
});

test('a pin decides; without it the answer takes the path of the question', async () => {
  const { plane, outer, events } = await site({}, [mapping('198.18.0.0/16', '203.0.123.2', '203.0.124.2')]);
  for (const [local, remote] of [
    ['203.0.114.2', '203.0.123.2'],
    ['203.0.113.2', '203.0.124.2'],
  ] as const) {
    plane.receive(fromServer(local, remote));
    plane.input(SYN);
    assert.equal(outer.at(-1)!.local, local);
    assert.equal(outer.at(-1)!.remote.address, remote);
  }
  assert.equal(events.filter(({ type }) => type === 'gleaned').length, 2);
  plane.pin(FLOW, { local: '203.0.113.2', remote: '203.0.123.2' });
  plane.receive(fromServer('203.0.114.2', '203.0.124.2'));
  plane.input(SYN);
  assert.equal(outer.at(-1)!.remote.address, '203.0.123.2');
  assert.deepEqual(
    plane.listPins().map(({ flow, path, gleaned }) => ({ flow, path, gleaned })),
    [{ flow: FLOW, path: { local: '203.0.113.2', remote: '203.0.123.2' }, gleaned: false }],
  );
  plane.unpin(FLOW);
  assert.deepEqual(plane.listPins(), []);
});

test('too big: ICMP says what fits', async () => {
  const { plane, inner, outer } = await site({ mtu: 1200 }, [mapping('198.18.0.0/16', '203.0.123.2')]);
  const packet = Buffer.concat([SYN, Buffer.alloc(1300 - SYN.length)]);
  packet.writeUInt16BE(1300, 2);
  packet.writeUInt16BE(0, 10);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += packet.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet.writeUInt16BE(~sum & 0xffff, 10);
  plane.input(packet);
  assert.equal(outer.length, 0);
  const icmp = Buffer.from(inner[0]!);
  assert.equal(icmp.subarray(20, 22).toString('hex'), '0304');
  assert.equal(icmp.readUInt16BE(26), 1200);
  assert.deepEqual(plane.stats().drops, { 'too-big': 1 });
});

test('path states, counters and lists', async () => {
  const { plane, outer } = await site({}, [mapping('198.18.0.0/16', '203.0.123.2', '203.0.124.2')]);
  for (const local of ['203.0.113.2', '203.0.114.2'])
    plane.setPathState({ local, remote: '203.0.123.2' }, false);
  for (let i = 0; i < 20; i++) plane.input(SYN);
  assert.ok(outer.every(({ remote }) => remote.address === '203.0.124.2'));
  const used = plane.paths().filter(({ packetsSent }) => packetsSent > 0);
  assert.deepEqual(
    used.map(({ packetsSent, bytesSent }) => [packetsSent, bytesSent]),
    [[20, 800]],
  );
  assert.deepEqual(plane.listMappings(), [
    {
      iid: 0,
      eid: '198.18.0.0/16',
      locators: [
        { rloc: '203.0.123.2', priority: 1, weight: 50 },
        { rloc: '203.0.124.2', priority: 1, weight: 50 },
      ],
    },
  ]);
  plane.deleteMapping(0, '198.18.0.0/16');
  assert.deepEqual(plane.listMappings(), []);
});

test('a mapping with more locators than a plane keeps: the best ones', async () => {
  const many = mapping('198.18.0.0/16', ...Array.from({ length: 40 }, (_, i) => `203.0.123.${i + 1}`));
  many.locators.forEach((locator, i) => (locator.priority = 40 - i));
  const { plane } = await site({}, [many]);
  const kept = plane.listMappings()[0]!.locators;
  assert.equal(kept.length, 16);
  assert.equal(Math.max(...kept.map(({ priority }) => priority)), 16);
});

test('wrong arguments are refused and change nothing', async () => {
  const { plane } = await site({}, [mapping('198.18.0.0/16', '203.0.123.2')]);
  const refused = { code: 'EINVAL' };
  assert.throws(() => plane.setMapping(mapping('198.18.0.0/33', '203.0.123.2')), refused);
  assert.throws(() => plane.setMapping(mapping('nonsense', '203.0.123.2')), refused);
  assert.throws(() => plane.setMapping(mapping('198.18.0.0/16', '224.0.0.1')), refused);
  assert.throws(() => plane.setMapping({ ...mapping('198.18.0.0/16'), iid: 2 ** 24 }), refused);
  assert.throws(() => plane.pin(FLOW, { local: '203.0.113.2', remote: '2001:db8::1' }), refused);
  assert.equal(plane.listMappings().length, 1);
});

test('every cause of a drop has a name and a meaning', () => {
  const causes = nativePart('plane').dropCauses();
  assert.equal(new Set(causes.map(({ name }) => name)).size, causes.length);
  for (const { name, text } of causes) {
    assert.match(name, /^[a-z][a-z0-9-]*$/);
    assert.ok(text.length > 0);
  }
});

test('any octets at all, in either direction: counted, never more', async () => {
  const one = await site({}, [mapping('198.18.0.0/16', '203.0.123.2')]);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(SYN.length - 1),
      fc.nat(255),
      (octets, at, value) => {
        one.plane.input(octets);
        one.plane.receive({ ...fromServer('203.0.113.2', '203.0.123.2'), data: octets });
        const changed = Buffer.from(SYN_ACK);
        changed[at] = value;
        one.plane.receive({
          ...fromServer('203.0.113.2', '203.0.123.2'),
          data: Buffer.concat([LISP, changed]),
        });
      },
    ),
    { numRuns: 300 },
  );
  one.inner.length = 0;
  one.plane.receive(fromServer('203.0.113.2', '203.0.123.2'));
  assert.equal(one.inner.length, 1);
});
