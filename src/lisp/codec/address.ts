// SPDX-License-Identifier: BSD-2-Clause

/**
 * AFI-encoded addresses (RFC 9301 section 5, RFC 8060). A LISP Canonical Address Format of a type not in the registry
 * below is kept as it came and goes out again octet for octet.
 */
import { addressBytes, addressFromBytes } from '../prefix.js';
import { CodecError, Reader, type Codec, type Writer } from './bytes.js';

export interface ElpHop {
  lookup: boolean;
  probe: boolean;
  strict: boolean;
  address: LispAddress;
}

export type LispAddress =
  | { kind: 'none' }
  | { kind: 'ipv4'; address: string }
  | { kind: 'ipv6'; address: string }
  /** RFC 8060 section 4.1 */
  | { kind: 'instance-id'; iid: number; maskLength: number; address: LispAddress }
  /** RFC 8060 section 4.6 */
  | { kind: 'elp'; hops: ElpHop[] }
  /** Any other LCAF. */
  | { kind: 'lcaf'; type: number; flags: number; reserved1: number; reserved2: number; payload: Uint8Array };

const AFI_NONE = 0;
const AFI_IPV4 = 1;
const AFI_IPV6 = 2;
const AFI_LCAF = 16387;

/** LCAFs nest (an instance-id holds an address, which may be an LCAF). Nothing sensible goes deeper than this. */
const MAX_DEPTH = 4;
const MAX_IID = 0xffffff;

type KindOf<K extends LispAddress['kind']> = Extract<LispAddress, { kind: K }>;

interface LcafCodec<K extends LispAddress['kind']> {
  type: number;
  /** `second` is the octet after the type, `payload` what the length field announces. */
  decode(payload: Reader, second: number, depth: number): KindOf<K>;
  second(value: KindOf<K>): number;
  encode(value: KindOf<K>, writer: Writer): void;
  length(value: KindOf<K>): number;
}

const instanceId: LcafCodec<'instance-id'> = {
  type: 2,
  decode(payload, second, depth) {
    const iid = payload.u32('instance-id');
    // 32 bits on the wire, but an encapsulation header carries 24.
    if (iid > MAX_IID) throw new CodecError('malformed', `instance-id ${iid} does not fit 24 bits`);
    return { kind: 'instance-id', iid, maskLength: second, address: decodeAddress(payload, depth + 1) };
  },
  second: (value) => value.maskLength,
  encode(value, writer) {
    writer.u32(value.iid);
    address.encode(value.address, writer);
  },
  length: (value) => 4 + address.length(value.address),
};

const explicitLocatorPath: LcafCodec<'elp'> = {
  type: 10,
  decode(payload, _second, depth) {
    const hops: ElpHop[] = [];
    while (payload.remaining > 0) {
      const flags = payload.u16('flags of a re-encapsulation hop');
      hops.push({
        lookup: (flags & 4) !== 0,
        probe: (flags & 2) !== 0,
        strict: (flags & 1) !== 0,
        address: decodeAddress(payload, depth + 1),
      });
    }
    return { kind: 'elp', hops };
  },
  second: () => 0,
  encode(value, writer) {
    for (const hop of value.hops) {
      writer.u16((hop.lookup ? 4 : 0) | (hop.probe ? 2 : 0) | (hop.strict ? 1 : 0));
      address.encode(hop.address, writer);
    }
  },
  length: (value) => value.hops.reduce((sum, hop) => sum + 2 + address.length(hop.address), 0),
};

function decodeLcaf(reader: Reader, depth: number): LispAddress {
  if (depth > MAX_DEPTH) throw new CodecError('malformed', `LCAFs nested more than ${MAX_DEPTH} deep`);
  const reserved1 = reader.u8('LCAF reserved');
  const flags = reader.u8('LCAF flags');
  const type = reader.u8('LCAF type');
  const reserved2 = reader.u8('LCAF reserved');
  const payload = reader.sub(reader.u16('LCAF length'), `LCAF of type ${type}`);
  const codec =
    type === instanceId.type
      ? instanceId
      : type === explicitLocatorPath.type
        ? explicitLocatorPath
        : undefined;
  if (!codec) return { kind: 'lcaf', type, flags, reserved1, reserved2, payload: payload.rest() };
  const value = codec.decode(payload, reserved2, depth);
  payload.end(`LCAF of type ${type}`);
  return value;
}

function encodeLcaf<K extends LispAddress['kind']>(
  codec: LcafCodec<K>,
  value: KindOf<K>,
  writer: Writer,
): void {
  writer.u16(AFI_LCAF);
  writer.u16(0);
  writer.u8(codec.type);
  writer.u8(codec.second(value));
  writer.u16(codec.length(value));
  codec.encode(value, writer);
}

function decodeAddress(reader: Reader, depth: number): LispAddress {
  const afi = reader.u16('AFI');
  switch (afi) {
    case AFI_NONE:
      return { kind: 'none' };
    case AFI_IPV4:
      return { kind: 'ipv4', address: addressFromBytes(reader.take(4, 'IPv4 address')) };
    case AFI_IPV6:
      return { kind: 'ipv6', address: addressFromBytes(reader.take(16, 'IPv6 address')) };
    case AFI_LCAF:
      return decodeLcaf(reader, depth);
    default:
      // Its length is not known, so nothing after it can be read either.
      throw new CodecError('unsupported', `address family ${afi} is not handled`);
  }
}

export const address: Codec<LispAddress> = {
  decode: (reader) => decodeAddress(reader, 0),

  encode(value, writer) {
    switch (value.kind) {
      case 'none':
        return writer.u16(AFI_NONE);
      case 'ipv4':
      case 'ipv6':
        writer.u16(value.kind === 'ipv4' ? AFI_IPV4 : AFI_IPV6);
        return writer.put(addressBytes(value.address));
      case 'instance-id':
        return encodeLcaf(instanceId, value, writer);
      case 'elp':
        return encodeLcaf(explicitLocatorPath, value, writer);
      case 'lcaf':
        writer.u16(AFI_LCAF);
        writer.u8(value.reserved1);
        writer.u8(value.flags);
        writer.u8(value.type);
        writer.u8(value.reserved2);
        writer.u16(value.payload.length);
        return writer.put(value.payload);
    }
  },

  length(value) {
    switch (value.kind) {
      case 'none':
        return 2;
      case 'ipv4':
        return 6;
      case 'ipv6':
        return 18;
      case 'instance-id':
        return 8 + instanceId.length(value);
      case 'elp':
        return 8 + explicitLocatorPath.length(value);
      case 'lcaf':
        return 8 + value.payload.length;
    }
  },
};

/** An IP address as the wire wants it. @throws PrefixError */
export const ipAddress = (text: string): LispAddress => {
  const bytes = addressBytes(text);
  return { kind: bytes.length === 4 ? 'ipv4' : 'ipv6', address: addressFromBytes(bytes) };
};

/** With its instance-id; 0 is the default and not written. */
export const inInstance = (iid: number, inner: LispAddress): LispAddress =>
  iid === 0 ? inner : { kind: 'instance-id', iid, maskLength: 0, address: inner };

/** The IP address inside, if there is one. */
export function ipOf(value: LispAddress): string | undefined {
  if (value.kind === 'ipv4' || value.kind === 'ipv6') return value.address;
  return value.kind === 'instance-id' ? ipOf(value.address) : undefined;
}

export const instanceOf = (value: LispAddress): number => (value.kind === 'instance-id' ? value.iid : 0);

/** How many bits a mask over this address may have; undefined where nothing is known of it. */
export function addressBits(value: LispAddress): number | undefined {
  switch (value.kind) {
    case 'ipv4':
      return 32;
    case 'ipv6':
      return 128;
    case 'instance-id':
      return addressBits(value.address);
    default:
      return undefined;
  }
}
