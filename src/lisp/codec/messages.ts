// SPDX-License-Identifier: BSD-2-Clause

/**
 * Control messages of UDP port 4342 (RFC 9301 section 5), octets <-> typed values. No I/O, no state.
 * Each codec has decode, encode and length side by side; `registry` finds it by the type field, and a type that is not
 * there becomes `unknown`, which goes out again as it came in.
 */
import { address, type LispAddress } from './address.js';
import { CodecError, Reader, Writer, type Codec } from './bytes.js';
import { count8, eidRecord, many, mappingRecord, type EidRecord, type MappingRecord } from './record.js';

export const CONTROL_PORT = 4342;

export interface MapRequest {
  type: 'map-request';
  /** A: the sender wants the ETR's answer, not a map-server's. */
  authoritative: boolean;
  /** P */
  probe: boolean;
  /** S: Solicit-Map-Request */
  smr: boolean;
  /** p: from a proxy ITR */
  pitr: boolean;
  /** s: sent because an SMR came */
  smrInvoked: boolean;
  /** L: this xTR and others of its site are local to each other */
  localXtr: boolean;
  /** D */
  dontMapReply: boolean;
  nonce: bigint;
  sourceEid: LispAddress;
  /** 1 to 32. */
  itrRlocs: LispAddress[];
  records: EidRecord[];
  /** M: the requester's own mapping. */
  mapReply?: MappingRecord;
  /** I (RFC 9437): at the end of the message. */
  identity?: XtrIdentity;
}

export interface MapReply {
  type: 'map-reply';
  /** P: answers an RLOC-probe. */
  probe: boolean;
  /** E */
  echoNonce: boolean;
  nonce: bigint;
  records: MappingRecord[];
  /** S: authentication data of LISP-SEC (RFC 9303), not looked into. */
  security?: Uint8Array;
}

/** 128 and 64 bits (RFC 9301 section 5.6), hexadecimal. */
export interface XtrIdentity {
  xtrId: string;
  siteId: string;
}

export interface AuthenticationField {
  keyId: number;
  algorithmId: number;
  data: Uint8Array;
}

interface Registration {
  nonce: bigint;
  authentication: AuthenticationField;
  records: MappingRecord[];
}

export interface MapRegister extends Registration {
  type: 'map-register';
  /** P: the map-server is to answer Map-Requests itself. */
  proxyReply: boolean;
  /** S */
  security: boolean;
  /** T: the record's TTL is the registration's time-out. */
  useTtl: boolean;
  /** a: merge with what other xTRs register for the same EID. */
  merge: boolean;
  /** M */
  wantMapNotify: boolean;
  /** I */
  identity?: XtrIdentity;
}

export interface MapNotify extends Registration {
  type: 'map-notify';
  /** What follows the records (older peers put xTR-ID and Site-ID there). */
  trailer?: Uint8Array;
}

export interface MapNotifyAck extends Registration {
  type: 'map-notify-ack';
  trailer?: Uint8Array;
}

/** Encapsulated Control Message: an IP packet with UDP with a control message in it; see ecm.ts. */
export interface Encapsulated {
  type: 'encapsulated';
  /** D: from a DDT node. */
  ddt: boolean;
  packet: Uint8Array;
}

export interface UnknownMessage {
  type: 'unknown';
  typeNumber: number;
  bytes: Uint8Array;
}

export type ControlMessage =
  MapRequest | MapReply | MapRegister | MapNotify | MapNotifyAck | Encapsulated | UnknownMessage;

/** `decode` gets a reader behind the first four octets, and these as a number. */
interface MessageCodec<T> {
  number: number;
  decode(header: number, reader: Reader): T;
  encode(value: T, writer: Writer): void;
  length(value: T): number;
}

const bit = (condition: boolean, mask: number): number => (condition ? mask : 0);

const sumOf = <T>(values: readonly T[], codec: Codec<T>): number =>
  values.reduce((sum, value) => sum + codec.length(value), 0);

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const identity: Codec<XtrIdentity> = {
  decode: (reader) => ({ xtrId: toHex(reader.take(16, 'xTR-ID')), siteId: toHex(reader.take(8, 'Site-ID')) }),
  encode(value, writer) {
    const [xtrId, siteId] = [Buffer.from(value.xtrId, 'hex'), Buffer.from(value.siteId, 'hex')];
    if (xtrId.length !== 16 || siteId.length !== 8)
      throw new RangeError('an xTR-ID has 16 octets and a Site-ID 8');
    writer.put(xtrId);
    writer.put(siteId);
  },
  length: () => 24,
};

/*
 *  |Type=1 |A|M|P|S|p|s|R|I|  Rsvd   |L|D|   IRC   | Record Count  |
 *  |                         Nonce (64 bits)                       |
 *  |         Source-EID-AFI        |   Source EID Address  ...     |
 *  |         ITR-RLOC-AFI 1        |    ITR-RLOC Address 1  ...    |  IRC + 1 of them
 *  |   Reserved    | EID mask-len  |   EID-Prefix-AFI, EID-Prefix  |  Record Count of them
 *  |                   Map-Reply Record  ...                       |  with M
 *  |                   xTR-ID and Site-ID                          |  with I
 */
const mapRequest: MessageCodec<MapRequest> = {
  number: 1,
  decode(header, reader) {
    const nonce = reader.u64('nonce');
    const sourceEid = address.decode(reader);
    const itrRlocs = many(reader, ((header >> 8) & 0x1f) + 1, address);
    const records = many(reader, header & 0xff, eidRecord);
    if (records.length === 0) throw new CodecError('malformed', 'Map-Request asks for nothing');
    return {
      type: 'map-request',
      authoritative: (header & 0x08000000) !== 0,
      probe: (header & 0x02000000) !== 0,
      smr: (header & 0x01000000) !== 0,
      pitr: (header & 0x00800000) !== 0,
      smrInvoked: (header & 0x00400000) !== 0,
      localXtr: (header & 0x00004000) !== 0,
      dontMapReply: (header & 0x00002000) !== 0,
      nonce,
      sourceEid,
      itrRlocs,
      records,
      ...((header & 0x04000000) !== 0 && { mapReply: mappingRecord.decode(reader) }),
      ...((header & 0x00100000) !== 0 && { identity: identity.decode(reader) }),
    };
  },
  encode(value, writer) {
    const { itrRlocs, records } = value;
    if (itrRlocs.length < 1 || itrRlocs.length > 32)
      throw new RangeError(`a Map-Request has 1 to 32 ITR-RLOCs, not ${itrRlocs.length}`);
    writer.u32(
      ((1 << 28) |
        bit(value.authoritative, 0x08000000) |
        bit(value.mapReply !== undefined, 0x04000000) |
        bit(value.probe, 0x02000000) |
        bit(value.smr, 0x01000000) |
        bit(value.pitr, 0x00800000) |
        bit(value.smrInvoked, 0x00400000) |
        bit(value.identity !== undefined, 0x00100000) |
        bit(value.localXtr, 0x00004000) |
        bit(value.dontMapReply, 0x00002000) |
        ((itrRlocs.length - 1) << 8) |
        count8(records, 'EID records')) >>>
        0,
    );
    writer.u64(value.nonce);
    address.encode(value.sourceEid, writer);
    for (const rloc of itrRlocs) address.encode(rloc, writer);
    for (const record of records) eidRecord.encode(record, writer);
    if (value.mapReply) mappingRecord.encode(value.mapReply, writer);
    if (value.identity) identity.encode(value.identity, writer);
  },
  length: (value) =>
    12 +
    address.length(value.sourceEid) +
    sumOf(value.itrRlocs, address) +
    sumOf(value.records, eidRecord) +
    (value.mapReply ? mappingRecord.length(value.mapReply) : 0) +
    (value.identity ? identity.length(value.identity) : 0),
};

/*
 *  |Type=2 |P|E|S|          Reserved               | Record Count  |
 *  |                         Nonce (64 bits)                       |
 *  |                         Records                               |
 */
const mapReply: MessageCodec<MapReply> = {
  number: 2,
  decode(header, reader) {
    const nonce = reader.u64('nonce');
    const records = many(reader, header & 0xff, mappingRecord);
    return {
      type: 'map-reply',
      probe: (header & 0x08000000) !== 0,
      echoNonce: (header & 0x04000000) !== 0,
      nonce,
      records,
      ...((header & 0x02000000) !== 0 && { security: reader.rest() }),
    };
  },
  encode(value, writer) {
    writer.u32(
      ((2 << 28) |
        bit(value.probe, 0x08000000) |
        bit(value.echoNonce, 0x04000000) |
        bit(value.security !== undefined, 0x02000000) |
        count8(value.records, 'records')) >>>
        0,
    );
    writer.u64(value.nonce);
    for (const record of value.records) mappingRecord.encode(record, writer);
    if (value.security) writer.put(value.security);
  },
  length: (value) => 12 + sumOf(value.records, mappingRecord) + (value.security?.length ?? 0),
};

/*
 *  |                         Nonce (64 bits)                       |
 *  |    Key ID     | Algorithm ID  |  Authentication Data Length   |
 *  ~                     Authentication Data                       ~
 *  |                         Records                               |
 */
const registration = {
  decode(count: number, reader: Reader): Registration {
    const nonce = reader.u64('nonce');
    const keyId = reader.u8('Key ID');
    const algorithmId = reader.u8('Algorithm ID');
    const data = reader.take(reader.u16('authentication data length'), 'authentication data');
    return {
      nonce,
      authentication: { keyId, algorithmId, data },
      records: many(reader, count, mappingRecord),
    };
  },
  encode(value: Registration, writer: Writer): void {
    writer.u64(value.nonce);
    writer.u8(value.authentication.keyId);
    writer.u8(value.authentication.algorithmId);
    writer.u16(value.authentication.data.length);
    writer.put(value.authentication.data);
    for (const record of value.records) mappingRecord.encode(record, writer);
  },
  length: (value: Registration): number =>
    12 + value.authentication.data.length + sumOf(value.records, mappingRecord),
};

/*  |Type=3 |P|S|I|        Reserved       |E|T|a|R|M| Record Count  |  then as above, then xTR-ID and Site-ID with I */
const mapRegister: MessageCodec<MapRegister> = {
  number: 3,
  decode(header, reader) {
    return {
      type: 'map-register',
      proxyReply: (header & 0x08000000) !== 0,
      security: (header & 0x04000000) !== 0,
      useTtl: (header & 0x00000800) !== 0,
      merge: (header & 0x00000400) !== 0,
      wantMapNotify: (header & 0x00000100) !== 0,
      ...registration.decode(header & 0xff, reader),
      ...((header & 0x02000000) !== 0 && { identity: identity.decode(reader) }),
    };
  },
  encode(value, writer) {
    writer.u32(
      ((3 << 28) |
        bit(value.proxyReply, 0x08000000) |
        bit(value.security, 0x04000000) |
        bit(value.identity !== undefined, 0x02000000) |
        bit(value.useTtl, 0x00000800) |
        bit(value.merge, 0x00000400) |
        bit(value.wantMapNotify, 0x00000100) |
        count8(value.records, 'records')) >>>
        0,
    );
    registration.encode(value, writer);
    if (value.identity) identity.encode(value.identity, writer);
  },
  length: (value) => 4 + registration.length(value) + (value.identity ? identity.length(value.identity) : 0),
};

/*  |Type=4 |             Reserved                  | Record Count  |  then as above; Type=5 for the Ack */
const notification = <T extends MapNotify | MapNotifyAck>(
  number: number,
  type: T['type'],
): MessageCodec<T> => ({
  number,
  decode(header, reader) {
    const fields = registration.decode(header & 0xff, reader);
    return { type, ...fields, ...(reader.remaining > 0 && { trailer: reader.rest() }) } as T;
  },
  encode(value, writer) {
    writer.u32(((number << 28) | count8(value.records, 'records')) >>> 0);
    registration.encode(value, writer);
    if (value.trailer) writer.put(value.trailer);
  },
  length: (value) => 4 + registration.length(value) + (value.trailer?.length ?? 0),
});

/*  |Type=8 |S|D|R|N|              Reserved                         |  then an IPv4 or IPv6 packet */
const encapsulated: MessageCodec<Encapsulated> = {
  number: 8,
  decode(header, reader) {
    if ((header & 0x08000000) !== 0)
      throw new CodecError('unsupported', 'LISP-SEC in an Encapsulated Control Message is not handled');
    return { type: 'encapsulated', ddt: (header & 0x04000000) !== 0, packet: reader.rest() };
  },
  encode(value, writer) {
    writer.u32(((8 << 28) | bit(value.ddt, 0x04000000)) >>> 0);
    writer.put(value.packet);
  },
  length: (value) => 4 + value.packet.length,
};

const mapNotify = notification<MapNotify>(4, 'map-notify');
const mapNotifyAck = notification<MapNotifyAck>(5, 'map-notify-ack');

const registry = new Map<number, MessageCodec<never>>(
  [mapRequest, mapReply, mapRegister, mapNotify, mapNotifyAck, encapsulated].map((codec) => [
    codec.number,
    codec as MessageCodec<never>,
  ]),
);

/** @throws CodecError */
export function decodeMessage(bytes: Uint8Array): ControlMessage {
  const reader = new Reader(bytes);
  const header = reader.u32('message header');
  const codec = registry.get(header >>> 28);
  if (!codec) return { type: 'unknown', typeNumber: header >>> 28, bytes: bytes.slice() };
  const message = codec.decode(header, reader) as ControlMessage;
  reader.end(message.type);
  return message;
}

const withCodec = <R>(
  message: ControlMessage,
  use: <T>(codec: MessageCodec<T>, value: T) => R,
  unknown: (bytes: Uint8Array) => R,
): R => {
  switch (message.type) {
    case 'map-request':
      return use(mapRequest, message);
    case 'map-reply':
      return use(mapReply, message);
    case 'map-register':
      return use(mapRegister, message);
    case 'map-notify':
      return use(mapNotify, message);
    case 'map-notify-ack':
      return use(mapNotifyAck, message);
    case 'encapsulated':
      return use(encapsulated, message);
    case 'unknown':
      return unknown(message.bytes);
  }
};

export const messageLength = (message: ControlMessage): number =>
  withCodec(
    message,
    (codec, value) => codec.length(value),
    (bytes) => bytes.length,
  );

/** @throws PrefixError, RangeError for a value that has no encoding */
export const encodeMessage = (message: ControlMessage): Uint8Array =>
  withCodec(
    message,
    (codec, value) => {
      const writer = new Writer(codec.length(value));
      codec.encode(value, writer);
      return writer.finish();
    },
    (bytes) => bytes.slice(),
  );
