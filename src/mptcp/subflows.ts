// SPDX-License-Identifier: BSD-2-Clause

/**
 * The subflows of one connection, as the path manager's events tell of them: who is there, which Address IDs are
 * taken, and what the peer refuses. Values in, values out; the sockets are elsewhere.
 *
 *   joining --SUB_ESTABLISHED--> established --SUB_CLOSED--> closed
 *      \------SUB_CLOSED----------------------------------------^
 */
import type { PmEndpoint } from './path-manager.js';

export type SubflowState = 'joining' | 'established' | 'closed';

export interface SubflowRecord {
  /** Also the Address ID (RFC 8684 section 3.2): 0 for the first subflow. */
  id: number;
  local: PmEndpoint;
  remote: PmEndpoint;
  state: SubflowState;
  backup: boolean;
  /** Milliseconds of the caller's clock. */
  since: number;
  /** Removed by us: its end is no surprise. */
  removing: boolean;
}

/** A peer at its limit completes the handshake, finds no room, and resets: a subflow this young was refused. */
export const REFUSED_WITHIN_MS = 500;
const LAST_ID = 254;

const same = (a: PmEndpoint, b: PmEndpoint): boolean => a.address === b.address && a.port === b.port;

export class SubflowTable {
  readonly #records = new Map<number, SubflowRecord>();
  #nextId = 1;
  #limit = Infinity;

  constructor(first: { local: PmEndpoint; remote: PmEndpoint }, now: number) {
    this.#records.set(0, {
      id: 0,
      ...first,
      state: 'established',
      backup: false,
      since: now,
      removing: false,
    });
  }

  /** Further subflows the peer is known to take; Infinity until it has refused one. */
  get limit(): number {
    return this.#limit;
  }

  list(): SubflowRecord[] {
    return [...this.#records.values()].sort((a, b) => a.id - b.id);
  }

  get(id: number): SubflowRecord | undefined {
    return this.#records.get(id);
  }

  /** Subflows besides the first that are there or on the way. */
  #further(): number {
    let count = 0;
    for (const { id, state } of this.#records.values()) if (id !== 0 && state !== 'closed') count++;
    return count;
  }

  get full(): boolean {
    return this.#further() >= this.#limit;
  }

  /** An ID not used lately: a late RM_ADDR of an old subflow must not hit a new one. */
  add(
    local: PmEndpoint,
    remote: PmEndpoint,
    options: { backup: boolean; now: number },
  ): SubflowRecord | undefined {
    for (let tries = 0; tries < LAST_ID; tries++) {
      const id = this.#nextId;
      this.#nextId = id >= LAST_ID ? 1 : id + 1;
      const holder = this.#records.get(id);
      if (holder && holder.state !== 'closed') continue;
      const record: SubflowRecord = {
        id,
        local,
        remote,
        state: 'joining',
        backup: options.backup,
        since: options.now,
        removing: false,
      };
      this.#records.set(id, record);
      return record;
    }
    return undefined;
  }

  /** Takes back an `add` whose SYN never left. */
  cancel(id: number): void {
    this.#records.delete(id);
  }

  markRemoving(id: number): void {
    const record = this.#records.get(id);
    if (record) record.removing = true;
  }

  #find(local: PmEndpoint | undefined, remote: PmEndpoint | undefined): SubflowRecord | undefined {
    if (!local || !remote) return undefined;
    for (const record of this.#records.values())
      if (record.state !== 'closed' && same(record.local, local) && same(record.remote, remote))
        return record;
    return undefined;
  }

  established(
    local: PmEndpoint | undefined,
    remote: PmEndpoint | undefined,
    now: number,
  ): SubflowRecord | undefined {
    const record = this.#find(local, remote);
    if (!record || record.state !== 'joining') return undefined;
    record.state = 'established';
    record.since = now;
    return record;
  }

  closed(
    local: PmEndpoint | undefined,
    remote: PmEndpoint | undefined,
    now: number,
  ): { record: SubflowRecord; refused: boolean } | undefined {
    const record = this.#find(local, remote);
    if (!record) return undefined;
    const refused =
      record.id !== 0 &&
      !record.removing &&
      record.state === 'established' &&
      now - record.since < REFUSED_WITHIN_MS;
    record.state = 'closed';
    record.since = now;
    // It has room for those that are there, and was not to be had for this one.
    if (refused) this.#limit = this.#further();
    return { record, refused };
  }

  priority(local: PmEndpoint | undefined, remote: PmEndpoint | undefined, backup: boolean): void {
    const record = this.#find(local, remote);
    if (record) record.backup = backup;
  }

  /** Closed subflows are remembered for their counters, up to this many. */
  prune(keep: number): number[] {
    const closed = this.list()
      .filter(({ state }) => state === 'closed')
      .sort((a, b) => a.since - b.since);
    const dropped = closed.slice(0, Math.max(0, closed.length - keep)).map(({ id }) => id);
    for (const id of dropped) this.#records.delete(id);
    return dropped;
  }
}
