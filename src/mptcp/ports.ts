// SPDX-License-Identifier: BSD-2-Clause

/**
 * Which local address and port the next connection takes. The gateway's EIDs are a prefix so that TIME_WAIT (60 s per
 * local port and server port) does not run it dry: every address has a cursor of its own that goes round the ports, so
 * a port comes back as late as possible. Nothing is reserved here: binding tells whether a port is free.
 */
import ipaddr from 'ipaddr.js';

/** Above what services of the host use, to the end: the addresses are the gateway's own. */
export const FIRST_PORT = 10_240;
export const LAST_PORT = 65_535;
/** Addresses of a wide prefix that are used. */
const MAX_ADDRESSES = 65_536;

export class LocalEndpoints {
  readonly #cursors = new Map<string, number>();
  readonly #turns = new Map<string, number>();
  readonly #usable = new Map<string, ReturnType<typeof usableAddresses> & { texts: string[] }>();

  constructor(private readonly random: () => number = Math.random) {}

  /** The next port to try at an address. */
  nextPort(address: string): number {
    const span = LAST_PORT - FIRST_PORT + 1;
    const cursor = this.#cursors.get(address) ?? Math.floor(this.random() * span);
    this.#cursors.set(address, (cursor + 1) % span);
    return FIRST_PORT + cursor;
  }

  /** Addresses of a prefix by turns. */
  nextAddress(prefix: string): string {
    let usable = this.#usable.get(prefix);
    if (usable === undefined) this.#usable.set(prefix, (usable = { ...usableAddresses(prefix), texts: [] }));
    const { base, first, count, texts } = usable;
    const turn = (this.#turns.get(prefix) ?? Math.floor(this.random() * count)) % count;
    this.#turns.set(prefix, turn + 1);
    return (texts[turn] ??= addressAt(base, first + turn));
  }

  /** Forgets cursors of addresses not used any more. */
  forget(address: string): void {
    this.#cursors.delete(address);
  }
}

/** An IPv4 subnet's first and last address are left alone, as is an IPv6 subnet's first (its anycast address). */
export function usableAddresses(prefix: string): { base: string; first: number; count: number } {
  const [base = '', lengthText] = prefix.split('/');
  const address = ipaddr.parse(base);
  const bits = address.kind() === 'ipv6' ? 128 : 32;
  const host = bits - (lengthText === undefined ? bits : Number(lengthText));
  if (host === 0) return { base, first: 0, count: 1 };
  if (host === 1) return { base, first: 0, count: 2 };
  const all = 2 ** Math.min(host, 40);
  const usable = all - (bits === 32 ? 2 : 1);
  return { base, first: 1, count: Math.min(usable, MAX_ADDRESSES) };
}

/** The address `offset` behind another one. */
export function addressAt(base: string, offset: number): string {
  const parsed = ipaddr.parse(base);
  const bytes = parsed.toByteArray();
  let carry = offset;
  for (let at = bytes.length - 1; at >= 0 && carry > 0; at--) {
    const sum = bytes[at]! + carry;
    bytes[at] = sum % 256;
    carry = Math.floor(sum / 256);
  }
  const result = ipaddr.fromByteArray(bytes);
  return result.kind() === 'ipv6' ? (result as ipaddr.IPv6).toRFC5952String() : result.toString();
}
