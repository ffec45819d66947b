// SPDX-License-Identifier: BSD-2-Clause

/**
 * A live connection follows its plan: current subflows and wanted paths in, what to add and what to remove out.
 *
 *   add first, then remove     a subflow goes only when another one, on a wanted path, has proved to be established
 *   one subflow per path       of two on one path the older one stays, unless it is stale
 *   never kill the connection  without any wanted path everything stays as it is
 *   a full peer                (its limit of subflows is reached) gets no further request until one has gone; to move a
 *                              connection that is full to other paths, one obsolete subflow makes room
 */
import { pathKey, type Path } from '../lisp/mapping.js';

export interface LiveSubflow {
  id: number;
  path: Path;
  state: 'joining' | 'established';
  /** Established long enough to be believed: a peer at its limit answers the handshake first and closes then. */
  proven: boolean;
  /** Lived through an outage of its path: backed off far, so that a fresh one is quicker. */
  stale: boolean;
  /** Added by the operator: removed by nobody else. */
  manual: boolean;
}

export interface ReconcileInput {
  subflows: readonly LiveSubflow[];
  wanted: readonly Path[];
  /** Keys of paths not to be tried now: refused, removed by the operator, or waiting for their next attempt. */
  blocked: ReadonlySet<string>;
  /** The peer takes no more subflows. */
  full: boolean;
}

export interface Changes {
  add: Path[];
  remove: number[];
}

export function reconcile({ subflows, wanted, blocked, full }: ReconcileInput): Changes {
  const wantedKeys = new Set(wanted.map(pathKey));
  /** The subflow that stands for each path: fresh before stale, established before joining, older before newer. */
  const chosen = new Map<string, LiveSubflow>();
  for (const subflow of [...subflows].sort(
    (a, b) => Number(a.stale) - Number(b.stale) || rank(a) - rank(b) || a.id - b.id,
  )) {
    const key = pathKey(subflow.path);
    if (!chosen.has(key)) chosen.set(key, subflow);
  }
  const isObsolete = (subflow: LiveSubflow): boolean =>
    !subflow.manual &&
    (subflow.stale ||
      !wantedKeys.has(pathKey(subflow.path)) ||
      chosen.get(pathKey(subflow.path)) !== subflow);

  const missing = wanted.filter((path) => {
    const key = pathKey(path);
    const there = chosen.get(key);
    return (there === undefined || there.stale) && !blocked.has(key);
  });
  const keepers = subflows.filter(
    (subflow) =>
      subflow.state === 'established' &&
      subflow.proven &&
      !subflow.stale &&
      wantedKeys.has(pathKey(subflow.path)) &&
      !isObsolete(subflow),
  );
  const obsolete = subflows.filter(isObsolete);
  const established = obsolete.filter(({ state }) => state === 'established');

  let remove: LiveSubflow[] = [];
  if (wanted.length === 0) remove = [];
  else if (keepers.length > 0) remove = obsolete;
  else if (established.length > 0) {
    remove = obsolete.filter(({ state }) => state === 'joining');
    if (full && missing.length > 0 && remove.length === 0 && established.length > 1)
      remove = [established[0]!];
  }
  return { add: full ? [] : missing, remove: remove.map(({ id }) => id) };
}

const rank = (subflow: LiveSubflow): number => (subflow.state === 'established' ? 0 : 1);
