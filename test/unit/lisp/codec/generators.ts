// SPDX-License-Identifier: BSD-2-Clause

/** Any value that has an encoding, for fast-check. */
import fc from 'fast-check';
import type { LispAddress } from '../../../../src/lisp/codec/address.js';
import type { ControlMessage } from '../../../../src/lisp/codec/messages.js';
import type { MappingRecord } from '../../../../src/lisp/codec/record.js';
import { addressFromBytes } from '../../../../src/lisp/prefix.js';

/** fc.record gives some objects no prototype, which deepEqual minds. */
const object = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;

const u8 = fc.integer({ min: 0, max: 255 });
const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const hexOf = (length: number) => octets(length).map((bytes) => Buffer.from(bytes).toString('hex'));

export const ipv4 = octets(4).map(addressFromBytes);
export const ipv6 = octets(16).map(addressFromBytes);

const plain: fc.Arbitrary<LispAddress> = fc.oneof(
  fc.constant<LispAddress>({ kind: 'none' }),
  ipv4.map((address): LispAddress => ({ kind: 'ipv4', address })),
  ipv6.map((address): LispAddress => ({ kind: 'ipv6', address })),
);

const unknownLcaf: fc.Arbitrary<LispAddress> = object({
  kind: fc.constant('lcaf' as const),
  type: u8.filter((type) => type !== 2 && type !== 10),
  flags: u8,
  reserved1: u8,
  reserved2: u8,
  payload: fc.uint8Array({ maxLength: 20 }),
});

const instance = (inner: fc.Arbitrary<LispAddress>): fc.Arbitrary<LispAddress> =>
  object({
    kind: fc.constant('instance-id' as const),
    iid: fc.integer({ min: 0, max: 0xffffff }),
    maskLength: u8,
    address: inner,
  });

const elp: fc.Arbitrary<LispAddress> = object({
  kind: fc.constant('elp' as const),
  hops: fc.array(
    object({
      lookup: fc.boolean(),
      probe: fc.boolean(),
      strict: fc.boolean(),
      address: fc.oneof(plain, instance(plain)),
    }),
    {
      maxLength: 4,
    },
  ),
});

export const address: fc.Arbitrary<LispAddress> = fc.oneof(
  plain,
  plain,
  instance(plain),
  elp,
  unknownLcaf,
  instance(unknownLcaf),
);

const eid = fc.oneof(
  ipv4.map((text): { eid: LispAddress; bits: number } => ({
    eid: { kind: 'ipv4', address: text },
    bits: 32,
  })),
  ipv6.map((text) => ({ eid: { kind: 'ipv6', address: text } as LispAddress, bits: 128 })),
  instance(ipv4.map((text): LispAddress => ({ kind: 'ipv4', address: text }))).map((value) => ({
    eid: value,
    bits: 32,
  })),
  unknownLcaf.map((value) => ({ eid: value, bits: 255 })),
);

const masked = eid.chain(({ eid: value, bits }) =>
  object({ eid: fc.constant(value), maskLength: fc.integer({ min: 0, max: bits }) }),
);

const locator = object({
  priority: u8,
  weight: u8,
  multicastPriority: u8,
  multicastWeight: u8,
  local: fc.boolean(),
  probed: fc.boolean(),
  reachable: fc.boolean(),
  address,
});

const record: fc.Arbitrary<MappingRecord> = object({
  prefix: masked,
  ttlMinutes: fc.integer({ min: 0, max: 0xffffffff }),
  action: fc.integer({ min: 0, max: 7 }),
  authoritative: fc.boolean(),
  mapVersion: fc.integer({ min: 0, max: 0xfff }),
  locators: fc.array(locator, { maxLength: 5 }),
}).map(({ prefix, ...rest }) => ({ ...rest, ...prefix }));

const nonce = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const identity = object({ xtrId: hexOf(16), siteId: hexOf(8) });
const authentication = object({ keyId: u8, algorithmId: u8, data: fc.uint8Array({ maxLength: 32 }) });
const records = fc.array(record, { maxLength: 4 });
const trailer = fc.option(fc.uint8Array({ minLength: 1, maxLength: 30 }), { nil: undefined });

/** Absent and undefined are the same to us, not to deepEqual. */
const tidy = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;

export const message: fc.Arbitrary<ControlMessage> = fc
  .oneof(
    object({
      type: fc.constant('map-request' as const),
      authoritative: fc.boolean(),
      probe: fc.boolean(),
      smr: fc.boolean(),
      pitr: fc.boolean(),
      smrInvoked: fc.boolean(),
      localXtr: fc.boolean(),
      dontMapReply: fc.boolean(),
      nonce,
      sourceEid: address,
      itrRlocs: fc.array(address, { minLength: 1, maxLength: 32 }),
      records: fc.array(masked, { minLength: 1, maxLength: 6 }),
      mapReply: fc.option(record, { nil: undefined }),
      identity: fc.option(identity, { nil: undefined }),
    }),
    object({
      type: fc.constant('map-reply' as const),
      probe: fc.boolean(),
      echoNonce: fc.boolean(),
      nonce,
      records,
      security: fc.option(fc.uint8Array({ maxLength: 30 }), { nil: undefined }),
    }),
    object({
      type: fc.constant('map-register' as const),
      proxyReply: fc.boolean(),
      security: fc.boolean(),
      useTtl: fc.boolean(),
      merge: fc.boolean(),
      wantMapNotify: fc.boolean(),
      nonce,
      authentication,
      records,
      identity: fc.option(identity, { nil: undefined }),
    }),
    object({ type: fc.constant('map-notify' as const), nonce, authentication, records, trailer }),
    object({ type: fc.constant('map-notify-ack' as const), nonce, authentication, records, trailer }),
    object({
      type: fc.constant('encapsulated' as const),
      ddt: fc.boolean(),
      packet: fc.uint8Array({ maxLength: 60 }),
    }),
  )
  .map((value) => tidy(value) as ControlMessage);
