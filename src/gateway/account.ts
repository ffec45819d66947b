// SPDX-License-Identifier: BSD-2-Clause

/** Last stage: what a connection was, as one record for the log, and the sums for the metrics. */
import { pathKey, type Path } from '../lisp/mapping.js';
import type { CloseReason, RelayReport } from '../platform/platform.js';
import { addCounts, onThisPath, type Connection, type SubflowCounts } from './connection.js';
import { flowKey } from './pins.js';

export interface PathAccount extends Path {
  subflows: number;
  bytesSent?: number;
  bytesReceived?: number;
  retransmits?: number;
}

export interface ConnectionRecord {
  id: number;
  client: string;
  destination: string;
  source?: string;
  iid: number;
  eid?: string;
  protocol: 'mptcp' | 'tcp' | 'direct';
  paths: PathAccount[];
  up: number;
  down: number;
  durationMs: number;
  reason: CloseReason | 'connect-failed' | 'client-gone';
  code?: string;
  /** Why it went past LISP. */
  direct?: string;
}

export interface GatewayCounters {
  total: number;
  failed: number;
  direct: number;
  bypassed: number;
  /** Octets of closed connections. */
  up: number;
  down: number;
  closed: Record<string, number>;
  subflowsAdded: number;
  subflowsRemoved: number;
  subflowsRefused: number;
  /** Only subflows that were put on another path. */
  subflowsMoved: number;
}

export const newCounters = (): GatewayCounters => ({
  total: 0,
  failed: 0,
  direct: 0,
  bypassed: 0,
  up: 0,
  down: 0,
  closed: {},
  subflowsAdded: 0,
  subflowsRemoved: 0,
  subflowsRefused: 0,
  subflowsMoved: 0,
});

export const endpointText = ({ address, port }: { address: string; port: number }): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** Sums per path over the subflows that were and those that are. */
export function pathAccounts(connection: Connection, report?: RelayReport): PathAccount[] {
  const accounts = new Map<string, PathAccount>();
  const add = (path: Path | undefined, subflows: number, counts: SubflowCounts | undefined): void => {
    if (path === undefined) return;
    const key = pathKey(path);
    const account = accounts.get(key) ?? { local: path.local, remote: path.remote, subflows: 0 };
    account.subflows += subflows;
    addCounts(account, counts);
    accounts.set(key, account);
  };
  for (const past of connection.past) add(past.path, past.subflows, past.counts);
  const final = new Map(report?.subflows?.map((entry) => [flowKey(entry.flow), entry]));
  for (const subflow of connection.subflows.values()) {
    add(subflow.path, 1, onThisPath(subflow, final.get(flowKey(subflow.flow)) ?? subflow.last));
  }
  return [...accounts.values()];
}

export function recordOf(
  connection: Connection,
  now: number,
  outcome: { reason: ConnectionRecord['reason']; code?: string; report?: RelayReport },
): ConnectionRecord {
  return {
    id: connection.id,
    client: endpointText(connection.flow.client),
    destination: endpointText(connection.flow.destination),
    ...(connection.source && { source: endpointText(connection.source) }),
    iid: connection.iid,
    ...(connection.group && { eid: connection.group.mapping.eid }),
    protocol: connection.protocol,
    paths: pathAccounts(connection, outcome.report),
    up: outcome.report?.up ?? 0,
    down: outcome.report?.down ?? 0,
    durationMs: Math.round(outcome.report?.durationMs ?? now - connection.startedAt),
    reason: outcome.reason,
    ...(outcome.code !== undefined && { code: outcome.code }),
    ...(connection.directReason !== undefined && { direct: connection.directReason }),
  };
}
