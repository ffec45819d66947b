// SPDX-License-Identifier: BSD-2-Clause

/**
 * Natively-Forward (RFC 9301 section 5.4) without the data plane: what a mapping wants forwarded without LISP is not routed
 * into the LISP device at all. Of the prefixes that are, the holes are cut out, and the host's other routes say where these
 * packets go:
 *
 *   198.18.0.0/22, mapping 198.18.1.0/24 natively -> 198.18.0.0/24, 198.18.2.0/23
 *
 * Values in, a value out.
 */
import { comparePrefixes, parsePrefix, prefixContains, prefixFromBytes, type Prefix } from './prefix.js';

export interface Forwarded {
  eid: string;
  /** false: through LISP. */
  native: boolean;
}

export interface NativeRoutes {
  routes: string[];
  /** EID prefixes that stay with LISP because there would be too many routes. */
  left: string[];
}

/** A hole of one address takes as many routes as it is longer than what it is in: at most 32, or 128. */
const MAX_ROUTES = 2048;

/** `routes` without what is to be forwarded natively; the longest mapping decides, as it does for a packet. */
export function nativeRoutes(routes: readonly string[], mappings: readonly Forwarded[]): NativeRoutes {
  const wanted = routes.map(parsePrefix);
  let parts = [...wanted];
  const left: string[] = [];
  const shortestFirst = mappings
    .map(({ eid, native }) => ({ prefix: parsePrefix(eid), native }))
    .sort((a, b) => a.prefix.length - b.prefix.length || comparePrefixes(a.prefix, b.prefix));
  for (const { prefix, native } of shortestFirst) {
    let next: Prefix[];
    if (native) next = parts.flatMap((part) => without(part, prefix));
    else if (parts.some((part) => prefixContains(part, prefix))) continue;
    else next = [...parts.filter((part) => !prefixContains(prefix, part)), ...within(prefix, wanted)];
    if (next.length > MAX_ROUTES) left.push(prefix.text);
    else parts = next;
  }
  return { routes: parts.map(({ text }) => text), left };
}

/** What of `prefix` is in one of `routes`. */
function within(prefix: Prefix, routes: readonly Prefix[]): Prefix[] {
  if (routes.some((route) => prefixContains(route, prefix))) return [prefix];
  return routes.filter((route) => prefixContains(prefix, route));
}

/** `part` less `hole`: the siblings of everything on the way from one to the other. */
function without(part: Prefix, hole: Prefix): Prefix[] {
  if (prefixContains(hole, part)) return [];
  if (!prefixContains(part, hole)) return [part];
  const rest: Prefix[] = [];
  for (let length = part.length + 1; length <= hole.length; length++) {
    const bytes = Uint8Array.from(hole.bytes);
    bytes[(length - 1) >> 3]! ^= 0x80 >> ((length - 1) & 7);
    rest.push(prefixFromBytes(bytes, length));
  }
  return rest;
}
