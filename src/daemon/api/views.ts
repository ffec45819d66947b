// SPDX-License-Identifier: BSD-2-Clause

/** The daemon's objects as the API shows them. */
import { pathKey, type Mapping, type Path, type PathState, type PathStatus } from '../../lisp/mapping.js';

import type { MapServer } from '../../lisp/map-server.js';
import type { Connection } from '../../gateway/connection.js';
import type { PathCounters } from '../../platform/platform.js';
import type { Config } from '../config.types.js';
import type * as Api from './schema.js';

/** Over all local RLOCs: up when one path is, down when all are. */
export function locatorState(states: readonly PathState[]): PathState {
  if (states.includes('up')) return 'up';
  return states.length > 0 && states.every((state) => state === 'down') ? 'down' : 'unknown';
}

export function mappingView(mapping: Mapping, paths: readonly PathStatus[], now: number): Api.Mapping {
  return {
    iid: mapping.iid,
    eid: mapping.eid,
    locators: mapping.locators.map(({ rloc, priority, weight, reachable }) => ({
      rloc,
      priority,
      weight,
      reachable,
      state: locatorState(paths.filter(({ remote }) => remote === rloc).map(({ state }) => state)),
    })),
    action: mapping.action,
    source: mapping.source,
    ...(Number.isFinite(mapping.ttlSeconds) && { ttlSeconds: mapping.ttlSeconds }),
    ...(mapping.expiresAt !== undefined && {
      expiresInSeconds: Math.max(0, Math.round((mapping.expiresAt - now) / 100) / 10),
    }),
  };
}

export function subflowViews(connection: Connection): Api.Subflow[] {
  const details = connection.details();
  const shown: Api.Subflow[] = [...connection.subflows.values()].map((subflow) => {
    const info = details.get(subflow.id);
    return {
      id: subflow.id,
      local: subflow.flow.local,
      remote: subflow.flow.remote,
      ...(subflow.path && { path: subflow.path }),
      state: subflow.state,
      backup: info?.backup ?? subflow.backup,
      ...(info?.bytesSent !== undefined && { bytesSent: info.bytesSent }),
      ...(info?.bytesReceived !== undefined && { bytesReceived: info.bytesReceived }),
      ...(info?.retransmits !== undefined && { retransmits: info.retransmits }),
      ...(info?.rttMs !== undefined && { rttMs: info.rttMs }),
    };
  });
  // What the peer refused is shown as such, so that nobody wonders where a subflow is.
  const next = Math.max(0, ...shown.map(({ id }) => id)) + 1;
  const refused = [...connection.setbacks.values()].filter(({ refused: yes }) => yes);
  refused.forEach(({ path }, index) => {
    const flow = connection.link?.flow;
    if (flow === undefined) return;
    shown.push({
      id: next + index,
      local: { address: flow.local.address, port: 0 },
      remote: flow.remote,
      path,
      state: 'refused',
      backup: false,
    });
  });
  return shown.sort((a, b) => a.id - b.id);
}

export const connectionView = (connection: Connection, now: number): Api.Connection => ({
  id: connection.id,
  client: connection.flow.client,
  destination: connection.flow.destination,
  ...(connection.source && { source: connection.source }),
  state: connection.state,
  protocol: connection.protocol,
  iid: connection.iid,
  ...(connection.link?.token !== undefined && { token: connection.link.token }),
  subflows: subflowViews(connection),
  bytes: connection.session?.counters() ?? { up: 0, down: 0 },
  ageMs: Math.max(0, Math.round(now - connection.startedAt)),
});

/** Every path that probing or the data plane knows. */
export function pathViews(
  statuses: readonly PathStatus[],
  counters: readonly PathCounters[],
  connections: ReadonlyMap<string, number>,
  statusOf: (path: Path) => PathStatus,
): Api.PathInfo[] {
  const byKey = new Map(statuses.map((status) => [pathKey(status), status]));
  const counted = new Map(counters.map((counter) => [pathKey(counter), counter]));
  for (const [key, counter] of counted) {
    if (!byKey.has(key)) byKey.set(key, statusOf({ local: counter.local, remote: counter.remote }));
  }
  return [...byKey]
    .map(([key, status]) => {
      const counter = counted.get(key);
      return {
        local: status.local,
        remote: status.remote,
        state: status.state,
        reason: status.reason,
        ...(status.rttMs !== undefined && { rttMs: status.rttMs }),
        ...(status.mtu !== undefined && { mtu: status.mtu }),
        packetsSent: counter?.packetsSent ?? 0,
        bytesSent: counter?.bytesSent ?? 0,
        packetsReceived: counter?.packetsReceived ?? 0,
        bytesReceived: counter?.bytesReceived ?? 0,
        connections: connections.get(key) ?? 0,
      };
    })
    .sort((a, b) => compareText(a.local, b.local) || compareText(a.remote, b.remote));
}

const compareText = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

/** Secrets never leave the daemon. */
export function withoutKeys(config: Config): Record<string, unknown> {
  return JSON.parse(
    JSON.stringify(config, (name, value: unknown) => (name === 'key' ? '***' : value)),
  ) as Record<string, unknown>;
}

const secondsAgo = (ms: number): number => Math.max(0, Math.round(ms / 100) / 10);

/** What is registered now, then what was rejected and why. */
export const registrationViews = (
  mapServer: Pick<MapServer, 'registrations' | 'rejected'>,
): Api.RegistrationList => ({
  registrations: [
    ...mapServer.registrations().map((entry) => ({
      site: entry.site,
      iid: entry.iid,
      eid: entry.eid,
      state: entry.expiresInMs > 0 ? ('registered' as const) : ('expired' as const),
      from: entry.source,
      locators: entry.locators.map(({ rloc, priority, weight }) => ({ rloc, priority, weight })),
      lastSeenSecondsAgo: secondsAgo(entry.lastSeenMs),
    })),
    ...mapServer.rejected().map((entry) => ({
      iid: entry.iid,
      eid: entry.eid,
      state: 'rejected' as const,
      reason: entry.why,
      from: entry.source,
      locators: [],
      lastSeenSecondsAgo: secondsAgo(entry.lastSeenMs),
      count: entry.count,
    })),
  ],
});
