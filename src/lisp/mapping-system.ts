// SPDX-License-Identifier: BSD-2-Clause

/**
 * The mapping system as the gateway and the API see it. `Xtr` implements it; tests may script it.
 *
 *   lookup    what the map-cache knows now, never asks
 *   resolve   lookup, and on a miss a Map-Request to the map-resolvers
 *   onChange  every change of the map-cache, to be carried into the data plane and the live connections
 *   paths     what RLOC-probing knows about each (local RLOC, remote RLOC) pair
 */
import type { Mapping, MappingSource, Path, PathStatus } from './mapping.js';

export type MappingChange =
  /** New or different. A mere refresh of the TTL is no change. */
  | { type: 'set'; mapping: Mapping; previous?: Mapping }
  /** A covering, shorter prefix may still be there: look up again. */
  | {
      type: 'removed';
      mapping: Mapping;
      reason: 'expired' | 'flushed' | 'deleted' | 'evicted' | 'superseded';
    };

export type Resolution =
  /** `mapping` has at least one locator (which may be unusable: priority 255, or its path down). */
  | { status: 'found'; mapping: Mapping }
  /** The mapping system says: no locators. `mapping.eid` is the prefix that this is known of; see `mapping.action`. */
  | { status: 'negative'; mapping: Mapping }
  /** Nobody answered, or nobody could be asked. Asked again only after `retryAfterMs`. */
  | { status: 'unreachable'; reason: string; retryAfterMs: number };

export interface PathChange {
  status: PathStatus;
  previous: PathStatus;
}

export interface MappingSystem {
  /** Longest match among mappings of every source; a configured one outranks a learnt one of the same prefix. */
  lookup(eid: string, iid?: number): Mapping | undefined;
  /** Never rejects and always settles: after the configured retries, each waiting 1.5 times as long as the one before. Concurrent calls for one EID share one request. */
  resolve(eid: string, iid?: number): Promise<Resolution>;
  /** Sorted by instance-id and prefix. */
  list(iid?: number): Mapping[];
  /** The entry of exactly this prefix. */
  get(eid: string, iid?: number): Mapping | undefined;

  /** Adds or replaces a configured mapping ('static' or 'cli'). @throws PrefixError, RangeError */
  set(
    mapping: { eid: string; iid: number; locators: { rloc: string; priority: number; weight: number }[] },
    source: 'static' | 'cli',
  ): Mapping;
  /** Removes the entry of exactly this prefix and source; what was learnt for it meanwhile is asked for anew. */
  delete(eid: string, iid: number, source: MappingSource): boolean;
  /** Forgets what was learnt (not what was configured); returns how many. */
  flush(iid?: number): number;

  /** Returns a function that ends the subscription. */
  onChange(listener: (change: MappingChange) => void): () => void;
  onPathChange(listener: (change: PathChange) => void): () => void;

  /** Every known path: each local RLOC with each remote locator of the map-cache of the same address family. */
  paths(): PathStatus[];
  path(path: Path): PathStatus;
  /**
   * Traffic is live on exactly these paths from now on: they are probed at the fast interval. Replaces the earlier set.
   * A path named here is known even when no mapping has it (yet).
   */
  setLivePaths(paths: Path[]): void;
  /** Something looks wrong (nothing received while other paths do): probe now, fast, and decide. */
  suspectPath(path: Path): void;
  /**
   * The data plane has just received something on this path. A probe that gets lost in a full queue meanwhile does not
   * count against it.
   */
  notePathReceived(path: Path): void;
  /** The underlay lowered the MTU of a path; octets of the inner packet. */
  notePathMtu(path: Path, mtu: number): void;
  /** Probes now; settles when every probe is answered or timed out. */
  probe(remote?: string): Promise<PathStatus[]>;
}
