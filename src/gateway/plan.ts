// SPDX-License-Identifier: BSD-2-Clause

/**
 * Third stage: the RLOC set of a destination becomes an ordered list of paths, one per usable RLOC. Values in, a value out.
 *
 *   remote RLOCs   the best priority that has a usable one (RFC 9300 section 6.3: lower is preferred, 255 is never used)
 *   local RLOCs    likewise, this host's own
 *   pairing        each remote RLOC with a local RLOC of its own where there are enough; never over a path that is down.
 *                  With all else equal the n-th is paired with the n-th in order of address, so that the outcome does not
 *                  depend on which probe is answered first; pairs in use stay as they are
 *   order          up before unknown, then weight, then address: the first path is the one the connection opens on
 */
import type { Mapping, Path, PathState } from '../lisp/mapping.js';
import { addressBytes, addressFamily } from '../lisp/prefix.js';

export interface LocalRloc {
  address: string;
  priority: number;
  weight: number;
}

export interface PlanLimits {
  /** Paths of one connection at most. */
  maxPaths: number;
}

/** RFC 9301 section 5.4: a locator of this priority must not be used for unicast. */
const UNUSABLE = 255;

export function plan(
  mapping: Mapping,
  locals: readonly LocalRloc[],
  stateOf: (path: Path) => PathState,
  limits: PlanLimits,
  /** Pairs of the plan before. */
  keep: readonly Path[] = [],
): Path[] {
  const remotes = mapping.locators
    .filter((locator) => locator.priority < UNUSABLE && locator.reachable)
    .map(({ rloc, priority, weight }) => ({ address: rloc, priority, weight }));
  const states = new Map<string, PathState>();
  const state = (local: string, remote: string): PathState => {
    const key = `${local}>${remote}`;
    let known = states.get(key);
    if (known === undefined) states.set(key, (known = stateOf({ local, remote })));
    return known;
  };
  for (const remoteClass of classes(remotes)) {
    for (const localClass of classes(locals.filter(({ priority }) => priority < UNUSABLE))) {
      const paths = pair(remoteClass, localClass, state, keep);
      if (paths.length > 0) return paths.slice(0, Math.max(1, limits.maxPaths));
    }
  }
  return [];
}

/** Groups of equal priority, best first, each in order of address. */
function classes(rlocs: readonly LocalRloc[]): LocalRloc[][] {
  const byPriority = new Map<number, LocalRloc[]>();
  const seen = new Set<string>();
  for (const rloc of rlocs) {
    if (seen.has(rloc.address)) continue;
    seen.add(rloc.address);
    byPriority.set(rloc.priority, [...(byPriority.get(rloc.priority) ?? []), rloc]);
  }
  return [...byPriority.entries()].sort(([a], [b]) => a - b).map(([, group]) => group.sort(byAddress));
}

const byAddress = (a: LocalRloc, b: LocalRloc): number => {
  const [left, right] = [addressBytes(a.address), addressBytes(b.address)];
  return left.length - right.length || Buffer.compare(left, right);
};

function pair(
  remotes: LocalRloc[],
  locals: LocalRloc[],
  state: (local: string, remote: string) => PathState,
  keep: readonly Path[],
): Path[] {
  const sameFamily = (a: LocalRloc, b: LocalRloc): boolean =>
    addressFamily(a.address) === addressFamily(b.address);
  const between = (local: LocalRloc, remote: LocalRloc): PathState =>
    sameFamily(local, remote) ? state(local.address, remote.address) : 'down';
  /** localOf[r] and remoteOf[l]: the matching so far. */
  const localOf = new Map<LocalRloc, LocalRloc>();
  const remoteOf = new Map<LocalRloc, LocalRloc>();
  for (const path of keep) {
    const remote = remotes.find(({ address }) => address === path.remote);
    const local = locals.find(({ address }) => address === path.local);
    if (remote === undefined || local === undefined || between(local, remote) === 'down') continue;
    if (localOf.has(remote) || remoteOf.has(local)) continue;
    localOf.set(remote, local);
    remoteOf.set(local, remote);
  }
  /** One augmenting path (Kuhn's algorithm): `remote` gets a local, others may have to move to another of theirs. */
  const augment = (remote: LocalRloc, seen: Set<LocalRloc>): boolean => {
    const turn = remotes.filter((other) => sameFamily(other, remote)).indexOf(remote);
    const own = locals.filter((local) => sameFamily(local, remote));
    // Probing has begun with the mapping, so that 'unknown' is a matter of one round trip: it counts as usable. But a pair
    // that works does not make way for one that only might.
    const before = localOf.get(remote);
    const works = before !== undefined && between(before, remote) === 'up';
    for (let i = 0; i < own.length; i++) {
      const local = own[(turn + i) % own.length]!;
      const now = between(local, remote);
      if (seen.has(local) || now === 'down' || (works && now !== 'up')) continue;
      seen.add(local);
      const holder = remoteOf.get(local);
      if (holder === undefined || augment(holder, seen)) {
        localOf.set(remote, local);
        remoteOf.set(local, remote);
        return true;
      }
    }
    return false;
  };
  for (const remote of remotes) if (!localOf.has(remote)) augment(remote, new Set());
  // More remote RLOCs than local ones: the local that carries least so far is shared. Where one pair of a remote RLOC is
  // known to be down, another one is used beside its neighbours only once it is known to work.
  const load = new Map<LocalRloc, number>([...localOf.values()].map((local) => [local, 1]));
  for (const remote of remotes) {
    if (localOf.has(remote)) continue;
    const failed = locals.some((local) => sameFamily(local, remote) && between(local, remote) === 'down');
    const least = locals
      .filter((local) => between(local, remote) === 'up' || (!failed && between(local, remote) === 'unknown'))
      .sort(
        (a, b) =>
          Number(between(b, remote) === 'up') - Number(between(a, remote) === 'up') ||
          (load.get(a) ?? 0) - (load.get(b) ?? 0),
      )[0];
    if (least === undefined) continue;
    localOf.set(remote, least);
    load.set(least, (load.get(least) ?? 0) + 1);
  }
  const rank = { up: 0, unknown: 1, down: 2 };
  return remotes
    .flatMap((remote) => {
      const local = localOf.get(remote);
      if (local === undefined) return [];
      const path: Path = { local: local.address, remote: remote.address };
      return [{ path, rank: rank[state(path.local, path.remote)], weight: remote.weight }];
    })
    .sort((a, b) => a.rank - b.rank || b.weight - a.weight)
    .map(({ path }) => path);
}
