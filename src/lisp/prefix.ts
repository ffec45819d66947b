// SPDX-License-Identifier: BSD-2-Clause

/**
 * Addresses and prefixes: text in, canonical text (RFC 5952 for IPv6) or bytes out. Everything that crosses a border of
 * the program (configuration, CLI, API, datagram) passes through here, so that inside it two equal prefixes are equal strings.
 */
import ipaddr from 'ipaddr.js';

export interface Prefix {
  readonly family: 4 | 6;
  /** 4 or 16 octets, bits beyond `length` are zero. */
  readonly bytes: Uint8Array;
  readonly length: number;
  /** Canonical text, "192.0.2.0/24". */
  readonly text: string;
}

export class PrefixError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'PrefixError';
  }
}

const DOT = 46;

const quote = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);

/** Four decimal octets without leading zeros; undefined: not those, and for the parser to judge. Every new connection asks. */
function dottedQuad(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let part = 0;
  let digits = 0;
  let value = 0;
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? DOT : text.charCodeAt(at);
    if (code === DOT) {
      if (digits === 0 || value > 255 || part === 4) return undefined;
      bytes[part++] = value;
      digits = value = 0;
    } else {
      if (code < 48 || code > 57 || digits === 3 || (digits > 0 && value === 0)) return undefined;
      value = value * 10 + code - 48;
      digits++;
    }
  }
  return part === 4 ? bytes : undefined;
}

/** The octets of an address. @throws PrefixError */
export function addressBytes(text: string): Uint8Array {
  const quad = dottedQuad(text);
  if (quad !== undefined) return quad;
  if (!isAddress(text)) throw new PrefixError(`${quote(text)} is no IPv4 or IPv6 address`);
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

export function addressFromBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new PrefixError(`an address has 4 or 16 octets, not ${bytes.length}`);
  return (ipaddr.fromByteArray([...bytes]) as ipaddr.IPv6).toRFC5952String();
}

/** Stricter than ipaddr.js's own parser, which also takes '10.1', '0x7f.1' and zone identifiers. */
export function isAddress(text: string): boolean {
  if (!text.includes(':')) return ipaddr.IPv4.isValidFourPartDecimal(text);
  if (!/^[0-9a-f:.]+$/i.test(text) || !ipaddr.IPv6.isValid(text)) return false;
  // ipaddr.js reads the deprecated '::192.0.2.1' as IPv4-mapped, and takes octal octets in the dotted tail.
  const tail = text.slice(text.lastIndexOf(':') + 1);
  return !tail.includes('.') || (!/^::[0-9.]+$/.test(text) && ipaddr.IPv4.isValidFourPartDecimal(tail));
}

export const addressFamily = (text: string): 4 | 6 => (text.includes(':') ? 6 : 4);

/** @throws PrefixError */
export const canonicalAddress = (text: string): string => addressFromBytes(addressBytes(text));

const clearHostBits = (bytes: Uint8Array, length: number): Uint8Array =>
  bytes.map((octet, index) => {
    const bits = length - index * 8;
    return bits >= 8 ? octet : bits <= 0 ? 0 : octet & (0xff << (8 - bits));
  });

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((octet, index) => octet === b[index]);

/** The prefix of `length` bits around an address; bits beyond are cleared. */
export function prefixFromBytes(address: Uint8Array, length: number): Prefix {
  const bits = address.length * 8;
  if (!Number.isInteger(length) || length < 0 || length > bits)
    throw new PrefixError(`prefix length ${length} is not between 0 and ${bits}`);
  const bytes = clearHostBits(address, length);
  return { family: bytes.length === 4 ? 4 : 6, bytes, length, text: `${addressFromBytes(bytes)}/${length}` };
}

/** "192.0.2.0/24", "2001:db8::/32"; a bare address is a host prefix. @throws PrefixError that says what is wrong with it */
export function parsePrefix(text: string): Prefix {
  const quad = dottedQuad(text);
  if (quad !== undefined) return { family: 4, bytes: quad, length: 32, text: `${text}/32` };
  const [address = '', length, ...rest] = text.split('/');
  if (rest.length > 0 || !isAddress(address)) {
    throw new PrefixError(
      `${quote(text)} is no IP prefix; expected something like 192.0.2.0/24 or 2001:db8::/32`,
    );
  }
  const bytes = addressBytes(address);
  const bits = bytes.length * 8;
  if (length === undefined) return prefixFromBytes(bytes, bits);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(length) || Number(length) > bits) {
    throw new PrefixError(`${quote(text)} is no IP prefix: its length must be a number from 0 to ${bits}`);
  }
  const prefix = prefixFromBytes(bytes, Number(length));
  if (!sameBytes(prefix.bytes, bytes)) {
    throw new PrefixError(`${quote(text)} has bits set beyond its length; did you mean ${prefix.text}?`);
  }
  return prefix;
}

export function isPrefix(text: string): boolean {
  try {
    parsePrefix(text);
    return true;
  } catch (error) {
    if (error instanceof PrefixError) return false;
    throw error;
  }
}

/** @throws PrefixError */
export const canonicalPrefix = (text: string): string => parsePrefix(text).text;

const toPrefix = (value: string | Prefix): Prefix => (typeof value === 'string' ? parsePrefix(value) : value);

/** Whether every address of `inner` (a prefix or an address) is in `outer`. A prefix contains itself. */
export function prefixContains(outer: string | Prefix, inner: string | Prefix): boolean {
  const [a, b] = [toPrefix(outer), toPrefix(inner)];
  return (
    a.family === b.family && a.length <= b.length && sameBytes(clearHostBits(b.bytes, a.length), a.bytes)
  );
}

export const prefixesOverlap = (a: string | Prefix, b: string | Prefix): boolean =>
  prefixContains(a, b) || prefixContains(b, a);

/** For sorting: IPv4 before IPv6, then by address, then the shorter prefix first. */
export function comparePrefixes(a: string | Prefix, b: string | Prefix): number {
  const [left, right] = [toPrefix(a), toPrefix(b)];
  if (left.family !== right.family) return left.family - right.family;
  return Buffer.compare(left.bytes, right.bytes) || left.length - right.length;
}

/** The bit of an address, 0 being the first on the wire. */
export const bitAt = (bytes: Uint8Array, index: number): 0 | 1 =>
  (((bytes[index >> 3] ?? 0) >> (7 - (index & 7))) & 1) as 0 | 1;

/** How many leading bits two prefixes share, at most the length of the shorter. */
export function commonLength(
  a: Pick<Prefix, 'bytes' | 'length'>,
  b: Pick<Prefix, 'bytes' | 'length'>,
): number {
  const limit = Math.min(a.length, b.length);
  for (let index = 0; index * 8 < limit; index++) {
    const difference = a.bytes[index]! ^ b.bytes[index]!;
    if (difference !== 0) return Math.min(limit, index * 8 + Math.clz32(difference) - 24);
  }
  return limit;
}
