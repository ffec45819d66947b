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
  readonly path?: Path;
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
}

export interface SubflowCounts {
  bytesSent?: number;
  bytesReceived?: number;
  retransmits?: number;
}

/** What a path did not work for, and when it is tried again. */
export interface Setback {
  path: Path;
  failures: number;
  /** Infinity: only after something has changed (refused by the peer, removed by the operator). */
  retryAt: number;
  refused: boolean;
}

/** A subflow that is gone, for the log line at the end. */
export interface PastSubflow {
  flow: Flow;
  path?: Path;
  last?: SubflowCounts;
}

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
  readonly past: PastSubflow[] = [];
  readonly setbacks = new Map<string, Setback>();
  /** Paths the operator wants besides the plan's. */
  extra: Path[] = [];
  /** 'established' has come: further subflows are possible. */
  joinable = false;
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

  subflowOf(flow: Flow): TrackedSubflow | undefined {
    for (const subflow of this.subflows.values()) {
      if (subflow.flow.local.port === flow.local.port && subflow.flow.local.address === flow.local.address)
        return subflow;
    }
    return undefined;
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
