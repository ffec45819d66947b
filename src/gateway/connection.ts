// SPDX-License-Identifier: BSD-2-Clause

/** A proxied connection: client side TCP, server side MPTCP, its subflows and counters. One small object each. */
import type { Path } from '../lisp/mapping.js';
import type {
  ClientFlow,
  Endpoint,
  Flow,
  MptcpConnection,
  RelaySession,
  SubflowInfo,
} from '../platform/platform.js';
import type { Group } from './groups.js';

/**
 *   held -> connecting -> established -> closing -> (gone)
 *
 * 'held' is skipped when the map-cache knows the destination.
 */
export type ConnectionState = 'held' | 'connecting' | 'established' | 'closing';

export interface TrackedSubflow {
  readonly id: number;
  readonly flow: Flow;
  /** Absent on a direct connection. */
  path?: Path;
  state: 'joining' | 'established';
  backup: boolean;
  stale: boolean;
  manual: boolean;
  /** See reconcile(). */
  proven: boolean;
  /** When it came into its state. */
  since: number;
  /** What the system last told of it. */
  last?: SubflowCounts;
  /** What it had counted when it was put on its present path. */
  before?: SubflowCounts;
}

export interface SubflowCounts {
  bytesSent?: number;
  bytesReceived?: number;
  retransmits?: number;
}

/** Adds what is known; what nobody told stays undefined. */
export function addCounts(sum: SubflowCounts, counts: SubflowCounts | undefined): void {
  for (const name of ['bytesSent', 'bytesReceived', 'retransmits'] as const) {
    if (counts?.[name] !== undefined) sum[name] = (sum[name] ?? 0) + counts[name];
  }
}

/** What a subflow counted on its present path, of what it counted in all. */
export function onThisPath(subflow: TrackedSubflow, all = subflow.last): SubflowCounts | undefined {
  const { before } = subflow;
  if (before === undefined || all === undefined) return all;
  const here: SubflowCounts = {};
  for (const name of ['bytesSent', 'bytesReceived', 'retransmits'] as const)
    if (all[name] !== undefined) here[name] = Math.max(0, all[name] - (before[name] ?? 0));
  return here;
}

/** What a path did not work for, and when it is tried again. */
export interface Setback {
  path: Path;
  failures: number;
  /** Infinity: only after something has changed (refused by the peer, removed by the operator). */
  retryAt: number;
  refused: boolean;
}

/** Subflows of one path that are gone, for the log line at the end. */
export interface PastSubflows {
  path: Path;
  subflows: number;
  counts: SubflowCounts;
}

const CLOSED_IDS = 64;

export class Connection {
  state: ConnectionState = 'connecting';
  /** What the server sees as its peer. */
  source: Endpoint | undefined;
  protocol: 'mptcp' | 'tcp' | 'direct' = 'mptcp';
  group: Group | undefined;
  link: MptcpConnection | undefined;
  session: RelaySession | undefined;
  readonly subflows = new Map<number, TrackedSubflow>();
  /** Identifiers of subflows that were closed, should their announcement come later. */
  closedIds: Set<number> | undefined;
  /** One entry a path, however often its subflow was replaced. */
  readonly past: PastSubflows[] = [];
  readonly setbacks = new Map<string, Setback>();
  /** Paths the operator wants besides the plan's. */
  extra: Path[] = [];
  /** 'established' has come: further subflows are possible. */
  joinable = false;
  /** And worth their cost: see follow.ts. */
  ripe = false;
  /** The peer takes no more. */
  full = false;
  killed = false;
  /** Why it went past LISP, when it did. */
  directReason: string | undefined;
  /** Retransmissions already in the gateway's sums, by path. */
  counted: Map<string, number> | undefined;
  /** One follower at a time. */
  following = false;
  followAgain = false;

  constructor(
    readonly id: number,
    readonly flow: ClientFlow,
    readonly iid: number,
    readonly startedAt: number,
  ) {}

  noteClosed(id: number): void {
    this.closedIds ??= new Set();
    this.closedIds.add(id);
    if (this.closedIds.size > CLOSED_IDS) this.closedIds.delete(this.closedIds.values().next().value!);
  }

  notePast(subflow: TrackedSubflow): void {
    const { path } = subflow;
    if (path === undefined) return;
    let entry = this.past.find(
      (known) => known.path.local === path.local && known.path.remote === path.remote,
    );
    if (entry === undefined) this.past.push((entry = { path, subflows: 0, counts: {} }));
    entry.subflows++;
    addCounts(entry.counts, onThisPath(subflow));
  }

  /**
   * What the system tells of each subflow now, by id. Only while established: later the relay has closed the socket, and its
   * descriptor may be another connection's.
   */
  details(): Map<number, SubflowInfo> {
    const details = new Map<number, SubflowInfo>();
    if (this.state !== 'established') return details;
    for (const info of this.link?.subflows() ?? []) {
      details.set(info.id, info);
      const subflow = this.subflows.get(info.id);
      if (subflow !== undefined && info.bytesSent !== undefined) {
        subflow.last = {
          bytesSent: info.bytesSent,
          bytesReceived: info.bytesReceived,
          retransmits: info.retransmits,
        };
      }
    }
    return details;
  }
}
