// SPDX-License-Identifier: BSD-2-Clause

/**
 * The words of the LISP control plane as values: what a mapping is (RFC 9300 section 3, RFC 9301 section 5.4).
 * Addresses and prefixes are canonical text ("192.0.2.1", "2001:db8::1", "192.0.2.0/24").
 */

/** Action of a mapping without locators (RFC 9301 section 5.4). Numbers are those on the wire. */
export const MAPPING_ACTIONS = {
  'no-action': 0,
  'natively-forward': 1,
  'send-map-request': 2,
  'drop-no-reason': 3,
  'drop-policy-denied': 4,
  'drop-auth-failure': 5,
} as const;
export type MappingAction = keyof typeof MAPPING_ACTIONS;

export interface Locator {
  /** RLOC address. */
  rloc: string;
  /** 0 to 255; lower is preferred, 255 means 'must not be used' (RFC 9300 section 9). */
  priority: number;
  /** 0 to 100, share among locators of equal priority; 0 for all means even. */
  weight: number;
  multicastPriority?: number;
  multicastWeight?: number;
  /** The R bit: the sender of the record believes the locator is up. */
  reachable: boolean;
  /** The L bit: the locator is one of the record's sender. */
  local?: boolean;
  /** Explicit locator path (RFC 8060 section 4.6): re-encapsulating hops to pass, the last one is `rloc`. */
  elp?: { address: string; lookup: boolean; probe: boolean; strict: boolean }[];
}

/** Where a mapping came from; a later source of lower rank never replaces one of higher rank. */
export type MappingSource = 'cli' | 'static' | 'map-reply' | 'map-notify';

export interface Mapping {
  /** Instance-ID, 0 to 2^24-1 (RFC 8060 section 4.1). */
  iid: number;
  /** EID prefix. */
  eid: string;
  /** Empty for a negative mapping. */
  locators: Locator[];
  /** Meaningful when there are no locators. */
  action: MappingAction;
  /** Record TTL in seconds (on the wire: minutes). Infinity for static ones. */
  ttlSeconds: number;
  source: MappingSource;
  /** Milliseconds of the control plane's clock; undefined for mappings that do not expire. */
  expiresAt?: number;
}

/** One (local RLOC, remote RLOC) pair. */
export interface Path {
  local: string;
  remote: string;
}

export type PathState = 'unknown' | 'up' | 'down';

/** What RLOC-probing (RFC 9301 section 7.1) and the data plane know of a path. */
export interface PathStatus extends Path {
  state: PathState;
  /** Round-trip time of the last answered probe, milliseconds. */
  rttMs?: number;
  /** Largest inner packet that fits, octets, where known. */
  mtu?: number;
  /** Why it is in this state: 'probe answered', 'probe timed out', 'administrator', ... */
  reason: string;
}

export const pathKey = (path: Path): string => `${path.local}>${path.remote}`;
