// SPDX-License-Identifier: BSD-2-Clause

/** Prometheus' view of the daemon. Everything is read when it is asked for; the gateway keeps plain numbers. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { pathKey, type PathState } from '../lisp/mapping.js';
import type { Daemon } from './daemon.js';

export function createMetrics(daemon: Daemon): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'amptcp_' });
  const registers = [registry];

  /** A count that lives elsewhere: taken over whole at each scrape. */
  const counter = (
    name: string,
    help: string,
    labels: string[],
    read: () => Iterable<[Record<string, string>, number]>,
  ): void => {
    new Counter({
      name,
      help,
      labelNames: labels,
      registers,
      collect() {
        this.reset();
        for (const [label, value] of read()) this.inc(label, value);
      },
    });
  };
  const gauge = (
    name: string,
    help: string,
    labels: string[],
    read: () => Iterable<[Record<string, string>, number]>,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: labels,
      registers,
      collect() {
        this.reset();
        for (const [label, value] of read()) this.set(label, value);
      },
    });
  };
  const one = (value: number): [Record<string, string>, number][] => [[{}, value]];
  const paths = () => (daemon.lisp?.xtr === undefined ? [] : daemon.platform.plane.paths());
  const plane = () => (daemon.lisp?.xtr === undefined ? undefined : daemon.platform.plane.stats());

  gauge('amptcp_build_info', 'Version of the daemon', ['version'], () => [[{ version: daemon.version }, 1]]);
  gauge('amptcp_connections', 'Client connections at present', ['state'], () => {
    const states = { held: 0, connecting: 0, established: 0, closing: 0 };
    for (const connection of daemon.gateway?.list() ?? []) states[connection.state]++;
    return Object.entries(states).map(([state, count]) => [{ state }, count]);
  });
  counter('amptcp_connections_total', 'Client connections taken', [], () =>
    one(daemon.gateway?.counters.total ?? 0),
  );
  counter('amptcp_connections_direct_total', 'Connections passed on without LISP', [], () =>
    one(daemon.gateway?.counters.direct ?? 0),
  );
  counter('amptcp_connections_closed_total', 'Connections that have ended, by reason', ['reason'], () =>
    Object.entries(daemon.gateway?.counters.closed ?? {}).map(([reason, count]) => [{ reason }, count]),
  );
  counter(
    'amptcp_relayed_bytes_total',
    'Octets relayed from (up) and to (down) clients',
    ['direction'],
    () => {
      const live = daemon.gateway?.liveBytes() ?? { up: 0, down: 0 };
      const past = daemon.gateway?.counters ?? { up: 0, down: 0 };
      return [
        [{ direction: 'up' }, past.up + live.up],
        [{ direction: 'down' }, past.down + live.down],
      ];
    },
  );
  counter(
    'amptcp_subflows_total',
    'Subflows beyond the first of a connection, by what became of them; moved: one that is alone, put on another path',
    ['event'],
    () => {
      const { counters } = daemon.gateway ?? {};
      return [
        [{ event: 'added' }, counters?.subflowsAdded ?? 0],
        [{ event: 'removed' }, counters?.subflowsRemoved ?? 0],
        [{ event: 'refused' }, counters?.subflowsRefused ?? 0],
        [{ event: 'moved' }, counters?.subflowsMoved ?? 0],
      ];
    },
  );
  for (const [name, help, field] of [
    ['amptcp_path_sent_bytes_total', 'Octets encapsulated to a path', 'bytesSent'],
    ['amptcp_path_received_bytes_total', 'Octets decapsulated from a path', 'bytesReceived'],
    ['amptcp_path_sent_packets_total', 'Packets encapsulated to a path', 'packetsSent'],
    ['amptcp_path_received_packets_total', 'Packets decapsulated from a path', 'packetsReceived'],
  ] as const) {
    counter(name, help, ['local', 'remote'], () =>
      paths().map((path) => [{ local: path.local, remote: path.remote }, path[field]]),
    );
  }
  counter(
    'amptcp_path_retransmits_total',
    'Segments lost and sent again by subflows of a path',
    ['local', 'remote'],
    () => {
      daemon.gateway?.sampleRetransmits();
      const counts = new Map(paths().map(({ local, remote }) => [pathKey({ local, remote }), 0]));
      for (const [key, { count }] of daemon.gateway?.retransmits ?? []) counts.set(key, count);
      return [...counts].map(([key, count]) => {
        const [local = '', remote = ''] = key.split('>');
        return [{ local, remote }, count];
      });
    },
  );
  gauge(
    'amptcp_path_up',
    'Whether probes say that a path works: 1 up, 0 down, -1 unknown',
    ['local', 'remote'],
    () => {
      const value: Record<PathState, number> = { up: 1, down: 0, unknown: -1 };
      return (daemon.lisp?.xtr?.paths() ?? []).map(({ local, remote, state }) => [
        { local, remote },
        value[state],
      ]);
    },
  );
  gauge('amptcp_path_rtt_seconds', 'Round-trip time of the last answered probe', ['local', 'remote'], () =>
    (daemon.lisp?.xtr?.paths() ?? []).flatMap(({ local, remote, rttMs }) =>
      rttMs === undefined ? [] : [[{ local, remote }, rttMs / 1000] as [Record<string, string>, number]],
    ),
  );
  counter('amptcp_path_suspicions_total', 'Times a path in use fell silent and was probed for it', [], () =>
    one(daemon.lisp?.suspicions ?? 0),
  );
  gauge('amptcp_map_cache_entries', 'Mappings known to the control plane', ['kind'], () => {
    const counts = { positive: 0, negative: 0 };
    for (const { locators } of daemon.lisp?.xtr?.list() ?? []) {
      counts[locators.length > 0 ? 'positive' : 'negative']++;
    }
    return Object.entries(counts).map(([kind, count]) => [{ kind }, count]);
  });
  gauge('amptcp_plane_pins', 'Flows bound to a path in the data plane', [], () => one(plane()?.pins ?? 0));
  gauge('amptcp_plane_queued_packets', 'Packets that wait for a mapping', [], () =>
    one(plane()?.queued ?? 0),
  );
  counter('amptcp_plane_packets_total', 'Packets through the data plane', ['direction'], () => [
    [{ direction: 'encapsulated' }, plane()?.encapsulated ?? 0],
    [{ direction: 'decapsulated' }, plane()?.decapsulated ?? 0],
  ]);
  counter('amptcp_plane_drops_total', 'Packets dropped by the data plane, by cause', ['cause'], () =>
    Object.entries(plane()?.drops ?? {}).map(([cause, count]) => [{ cause }, count]),
  );
  counter('amptcp_control_events_total', 'Control-plane messages and drops, by name', ['event'], () =>
    Object.entries(daemon.lisp?.control.environment.counters.snapshot() ?? {}).map(([event, count]) => [
      { event },
      count,
    ]),
  );
  return registry;
}
