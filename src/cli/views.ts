// SPDX-License-Identifier: BSD-2-Clause

/** How the daemon's objects look to people. Values in, text out. */
import type {
  Bypass,
  Connection,
  Finding,
  Mapping,
  PathInfo,
  PathReport,
  Registration,
  Status,
  Subflow,
} from '../daemon/api/schema.js';
import { properties, table } from './table.js';
import { duration, endpoint, milliseconds, octets, plural, rate } from './units.js';
import { printable } from './output.js';

/** Bits per second between two looks at a counter; undefined when there was none before. */
const perSecond = (now: number, before: number | undefined, elapsedMs: number): number | undefined =>
  before === undefined || elapsedMs <= 0 ? undefined : (Math.max(0, now - before) * 8000) / elapsedMs;

const shownRate = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : rate(value);

export interface Before<T> {
  value: T;
  elapsedMs: number;
}

export function statusView(now: Status, before?: Before<Status>): string {
  const { connections, paths, plane } = now;
  const up = perSecond(now.bytes.up, before?.value.bytes.up, before?.elapsedMs ?? 0);
  const down = perSecond(now.bytes.down, before?.value.bytes.down, before?.elapsedMs ?? 0);
  const known = paths.up + paths.down + paths.unknown;
  const drops = Object.entries(plane?.drops ?? {}).filter(([, count]) => count > 0);
  // A map-server neither proxies nor forwards; what would only be zeros is left out.
  const proxies = now.roles.some((role) => role === 'access' || role === 'data-centre');
  const forwards = proxies || now.roles.includes('xtr');
  const blocks = [
    properties([
      ['amptcpd', `${now.version}, ${now.state}, pid ${now.pid}, on ${now.platform}`],
      ['roles', now.roles.join(', ')],
      ['configuration', now.configFile],
      ['up for', duration(now.uptimeSeconds * 1000)],
      ['intercepting', proxies ? (now.intercepting ? 'yes' : 'no') : undefined],
      [
        'connections',
        proxies &&
          `${connections.active} active, ${connections.held} held, ${connections.total} since start ` +
            `(${connections.direct} direct, ${connections.failed} failed)`,
      ],
      ['to servers', proxies && `${octets(now.bytes.up)}${up === undefined ? '' : `, ${rate(up)}`}`],
      ['to clients', proxies && `${octets(now.bytes.down)}${down === undefined ? '' : `, ${rate(down)}`}`],
      [
        'paths',
        forwards && (known === 0 ? 'none' : `${paths.up} up, ${paths.down} down, ${paths.unknown} unknown`),
      ],
      [
        'data plane',
        plane &&
          `${plane.device} (${plane.kind}), MTU ${plane.mtu}, ${plural(plane.mappings, 'mapping')}, ${plural(plane.pins, 'pin')}`,
      ],
      [
        'packets',
        plane &&
          `${plane.encapsulated} encapsulated, ${plane.decapsulated} decapsulated, ${plane.queued} queued`,
      ],
      [
        'drops',
        drops.length === 0 ? undefined : drops.map(([cause, count]) => `${cause} ${count}`).join(', '),
      ],
    ]),
  ];
  if (now.rlocs.length > 0) {
    blocks.push(
      table(now.rlocs, [
        { header: 'RLOC', value: (rloc) => rloc.address },
        { header: 'INTERFACE', value: (rloc) => rloc.interface },
        { header: 'PRIORITY', value: (rloc) => rloc.priority, align: 'right' },
        { header: 'WEIGHT', value: (rloc) => rloc.weight, align: 'right' },
      ]),
    );
  }
  if (now.mapServers.length > 0) {
    blocks.push(
      table(now.mapServers, [
        { header: 'MAP-SERVER', value: (server) => server.address },
        { header: 'STATE', value: (server) => server.state },
        { header: 'LAST NOTIFY', value: (server) => server.lastNotifyAt },
        { header: 'REASON', value: (server) => server.reason },
      ]),
    );
  }
  blocks.push(...now.warnings.map((warning) => `Warning: ${printable(warning)}`));
  return blocks.join('\n\n');
}

const expiry = (seconds: number | undefined): string =>
  seconds === undefined ? 'never' : duration(seconds * 1000);

export function mappingsView(mappings: readonly Mapping[]): string {
  if (mappings.length === 0) return 'The map-cache is empty.';
  // One line a locator; what belongs to the mapping is said once.
  interface Line {
    mapping: Mapping;
    locator?: Mapping['locators'][number];
    first: boolean;
  }
  const lines = mappings.flatMap((mapping): Line[] =>
    mapping.locators.length === 0
      ? [{ mapping, first: true }]
      : mapping.locators.map((locator, index) => ({ mapping, locator, first: index === 0 })),
  );
  const once =
    <T>(value: (mapping: Mapping) => T) =>
    (line: Line): T | ' ' =>
      line.first ? value(line.mapping) : ' ';
  return table(lines, [
    { header: 'IID', value: once((mapping) => mapping.iid), align: 'right' },
    { header: 'EID', value: once((mapping) => mapping.eid) },
    { header: 'RLOC', value: ({ mapping, locator }) => locator?.rloc ?? mapping.action },
    { header: 'PRIORITY', value: ({ locator }) => locator?.priority, align: 'right' },
    { header: 'WEIGHT', value: ({ locator }) => locator?.weight, align: 'right' },
    {
      header: 'STATE',
      value: ({ locator }) => locator && (locator.reachable ? locator.state : 'unreachable'),
    },
    { header: 'SOURCE', value: once((mapping) => mapping.source) },
    { header: 'EXPIRES', value: once((mapping) => expiry(mapping.expiresInSeconds)) },
  ]);
}

export function mappingView(mapping: Mapping): string {
  const head = properties([
    ['EID', mapping.eid],
    ['instance-ID', mapping.iid],
    ['source', mapping.source],
    ['TTL', mapping.ttlSeconds === undefined ? 'none' : duration(mapping.ttlSeconds * 1000)],
    ['expires in', expiry(mapping.expiresInSeconds)],
    ['action', mapping.locators.length === 0 ? mapping.action : undefined],
  ]);
  if (mapping.locators.length === 0) return head;
  return `${head}\n\n${table(mapping.locators, [
    { header: 'RLOC', value: (locator) => locator.rloc },
    { header: 'PRIORITY', value: (locator) => locator.priority, align: 'right' },
    { header: 'WEIGHT', value: (locator) => locator.weight, align: 'right' },
    { header: 'REACHABLE', value: (locator) => (locator.reachable ? 'yes' : 'no') },
    { header: 'STATE', value: (locator) => locator.state },
  ])}`;
}

export function connectionsView(now: readonly Connection[], before?: Before<readonly Connection[]>): string {
  if (now.length === 0) return 'No connections.';
  const old = new Map(before?.value.map((connection) => [connection.id, connection]));
  const rateOf = (connection: Connection): string | undefined => {
    const then = old.get(connection.id);
    return shownRate(
      perSecond(
        connection.bytes.up + connection.bytes.down,
        then && then.bytes.up + then.bytes.down,
        before?.elapsedMs ?? 0,
      ),
    );
  };
  return table(now, [
    { header: 'ID', value: (connection) => connection.id, align: 'right' },
    { header: 'CLIENT', value: (connection) => endpoint(connection.client) },
    { header: 'DESTINATION', value: (connection) => endpoint(connection.destination) },
    { header: 'STATE', value: (connection) => connection.state },
    { header: 'PROTOCOL', value: (connection) => connection.protocol },
    { header: 'SUBFLOWS', value: (connection) => established(connection.subflows), align: 'right' },
    { header: 'UP', value: (connection) => octets(connection.bytes.up), align: 'right' },
    { header: 'DOWN', value: (connection) => octets(connection.bytes.down), align: 'right' },
    ...(before === undefined ? [] : [{ header: 'RATE', value: rateOf, align: 'right' as const }]),
    { header: 'AGE', value: (connection) => duration(connection.ageMs), align: 'right' },
  ]);
}

const established = (subflows: readonly Subflow[]): number =>
  subflows.filter((subflow) => subflow.state === 'established').length;

export function connectionView(connection: Connection): string {
  return `${properties([
    ['connection', connection.id],
    ['client', endpoint(connection.client)],
    ['destination', endpoint(connection.destination)],
    ['source', connection.source && endpoint(connection.source)],
    ['state', connection.state],
    ['protocol', connection.protocol],
    ['instance-ID', connection.iid],
    [
      'token',
      connection.token === undefined ? undefined : `0x${connection.token.toString(16).padStart(8, '0')}`,
    ],
    ['to server', octets(connection.bytes.up)],
    ['to client', octets(connection.bytes.down)],
    ['age', duration(connection.ageMs)],
  ])}\n\n${subflowsView(connection.subflows)}`;
}

export function subflowsView(subflows: readonly Subflow[]): string {
  if (subflows.length === 0) return 'No subflows.';
  return table(subflows, [
    { header: 'SUBFLOW', value: (subflow) => subflow.id, align: 'right' },
    { header: 'LOCAL', value: (subflow) => endpoint(subflow.local) },
    { header: 'REMOTE', value: (subflow) => endpoint(subflow.remote) },
    { header: 'LOCAL RLOC', value: (subflow) => subflow.path?.local },
    { header: 'REMOTE RLOC', value: (subflow) => subflow.path?.remote },
    { header: 'STATE', value: (subflow) => subflow.state + (subflow.backup ? ' (backup)' : '') },
    {
      header: 'SENT',
      value: ({ bytesSent }) => (bytesSent === undefined ? undefined : octets(bytesSent)),
      align: 'right',
    },
    {
      header: 'RECEIVED',
      value: ({ bytesReceived }) => (bytesReceived === undefined ? undefined : octets(bytesReceived)),
      align: 'right',
    },
    { header: 'RETRANSMITS', value: (subflow) => subflow.retransmits, align: 'right' },
    { header: 'RTT', value: (subflow) => milliseconds(subflow.rttMs), align: 'right' },
  ]);
}

export function pathsView(now: readonly PathInfo[], before?: Before<readonly PathInfo[]>): string {
  if (now.length === 0) return 'No paths: no mapping has an RLOC yet.';
  const key = (path: PathInfo): string => `${path.local}>${path.remote}`;
  const old = new Map(before?.value.map((path) => [key(path), path]));
  const rateOf =
    (counter: 'bytesSent' | 'bytesReceived') =>
    (path: PathInfo): string | undefined =>
      shownRate(perSecond(path[counter], old.get(key(path))?.[counter], before?.elapsedMs ?? 0));
  return table(now, [
    { header: 'LOCAL RLOC', value: (path) => path.local },
    { header: 'REMOTE RLOC', value: (path) => path.remote },
    { header: 'STATE', value: (path) => path.state },
    { header: 'RTT', value: (path) => milliseconds(path.rttMs), align: 'right' },
    { header: 'MTU', value: (path) => path.mtu, align: 'right' },
    { header: 'SENT', value: (path) => octets(path.bytesSent), align: 'right' },
    ...(before === undefined
      ? []
      : [{ header: 'RATE', value: rateOf('bytesSent'), align: 'right' as const }]),
    { header: 'RECEIVED', value: (path) => octets(path.bytesReceived), align: 'right' },
    ...(before === undefined
      ? []
      : [{ header: 'RATE', value: rateOf('bytesReceived'), align: 'right' as const }]),
    { header: 'CONNECTIONS', value: (path) => path.connections, align: 'right' },
    { header: 'REASON', value: (path) => path.reason },
  ]);
}

/** What is amiss comes with what to do about it. */
export function findingsView(findings: readonly Finding[]): string {
  const width = Math.max(0, ...findings.map((finding) => printable(finding.name).length));
  const lines = findings.flatMap((finding) => {
    const name = printable(finding.name);
    return [
      `${finding.ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(width)}  ${printable(finding.detail)}`.trimEnd(),
      ...(finding.ok || finding.remedy === undefined
        ? []
        : [`${' '.repeat(width + 8)}-> ${printable(finding.remedy)}`]),
    ];
  });
  const failed = findings.filter((finding) => !finding.ok).length;
  return [...lines, '', failed === 0 ? 'All is well.' : `${plural(failed, 'fault')} found.`].join('\n');
}

export function pathReportView(report: PathReport): string {
  const paths =
    report.paths.length === 0
      ? []
      : [
          table(report.paths, [
            { header: 'LOCAL RLOC', value: (path) => path.local },
            { header: 'REMOTE RLOC', value: (path) => path.remote },
            { header: 'STATE', value: (path) => path.state },
            { header: 'RTT', value: (path) => milliseconds(path.rttMs), align: 'right' },
            { header: 'MTU', value: (path) => path.mtu ?? 'unknown', align: 'right' },
            { header: 'MPTCP', value: (path) => path.mptcp },
            { header: 'MP_JOIN', value: (path) => path.join },
          ]),
          '',
        ];
  return [`Path to ${endpoint(report.destination)}`, '', ...paths, findingsView(report.findings)].join('\n');
}

export function bypassView(bypass: readonly Bypass[]): string {
  if (bypass.length === 0) return 'No destination is bypassed.';
  return table(bypass, [
    { header: 'DESTINATION', value: (entry) => entry.prefix },
    { header: 'FOR ANOTHER', value: (entry) => duration(entry.expiresInSeconds * 1000), align: 'right' },
  ]);
}

export function registrationsView(registrations: readonly Registration[]): string {
  if (registrations.length === 0) return 'No site has registered.';
  return table(registrations, [
    { header: 'SITE', value: (registration) => registration.site },
    { header: 'IID', value: (registration) => registration.iid, align: 'right' },
    { header: 'EID', value: (registration) => registration.eid },
    { header: 'STATE', value: (registration) => registration.state },
    {
      header: 'RLOCS',
      value: (registration) => registration.locators.map((locator) => locator.rloc).join(', '),
    },
    { header: 'FROM', value: (registration) => registration.from },
    {
      header: 'LAST SEEN',
      value: (registration) => `${duration(registration.lastSeenSecondsAgo * 1000)} ago`,
      align: 'right',
    },
    {
      header: 'REASON',
      value: ({ reason, count = 1 }) => reason && `${reason}${count > 1 ? ` (${count} times)` : ''}`,
    },
  ]);
}
