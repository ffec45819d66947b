// SPDX-License-Identifier: BSD-2-Clause

/** The files of the lab's daemons, as a user would write them. */
import { INSIDE, type Family, addresses, uplink } from './topology.js';

export type DaemonHost = 'gateway' | 'dc1' | 'dc2' | 'map';
export const DAEMON_HOSTS: DaemonHost[] = ['map', 'dc1', 'dc2', 'gateway'];

/** Ports the gateway intercepts; the web servers listen on others too, for what shall go directly. */
export const PORTS = {
  /** Server with MPTCP. */
  http: 80,
  /** Server without MPTCP. */
  plain: 81,
  /** Nobody listens. */
  closed: 82,
  /** The server with MPTCP again, not intercepted. */
  direct: 8000,
  /** That without MPTCP again, not intercepted. */
  plainDirect: 8001,
  iperf: 5201,
  /** For the tests' own servers. */
  tests: { from: 7000, to: 7099 },
};

export interface ConfigOptions {
  family: Family;
  rlocs: number;
  /** The RLOC of this number is left out. */
  without?: number;
  /** Folder for sockets and state. */
  directory: string;
  /** Where the server is. */
  site: 1 | 2;
  source: 'nat' | 'client';
  /** Unprivileged account the gateway's daemon runs as; absent: unsplit. */
  user?: string;
  /** How often paths are probed. */
  probe?: { intervalMs: number; timeoutMs: number; failures: number };
  /** 'debug' unless told; measurements want what a user has. */
  logLevel?: 'debug' | 'info';
  /** Lines added to a daemon's file, by host; they may open tables of their own. */
  extra?: Partial<Record<DaemonHost, string>>;
  /** Lines added to a table: 'gateway:intercept' -> 'exclude = [...]'. */
  extraKeys?: Record<string, string>;
}

const SITE_KEY = 'three may keep a secret';
const quote = (text: string): string => JSON.stringify(text);

function common(host: DaemonHost, roles: string[], options: ConfigOptions): string[] {
  const directory = `${options.directory}/${host}`;
  return [
    `roles = [${roles.map(quote).join(', ')}]`,
    ...(options.user && host === 'gateway' ? [`user = ${quote(options.user)}`] : []),
    `state_dir = ${quote(`${directory}/state`)}`,
    ...table(host, 'api', options, [`socket = ${quote(`${directory}/amptcpd.sock`)}`]),
    ...table(host, 'log', options, [`level = ${quote(options.logLevel ?? 'debug')}`]),
  ];
}

function table(
  host: DaemonHost,
  name: string,
  options: ConfigOptions,
  lines: string[],
  array = false,
): string[] {
  const extra = options.extraKeys?.[`${host}:${name}`];
  return ['', array ? `[[${name}]]` : `[${name}]`, ...lines, ...(extra ? [extra] : [])];
}

function rlocs(host: DaemonHost, site: 0 | 1 | 2, options: ConfigOptions): string[] {
  const numbers = Array.from({ length: options.rlocs }, (_, index) => index + 1);
  return numbers
    .filter((number) => number !== options.without)
    .flatMap((number) =>
      table(
        host,
        'rloc',
        options,
        [
          `address = ${quote(addresses.rloc(options.family, site, number))}`,
          `interface = ${quote(uplink(number))}`,
          `gateway = ${quote(addresses.rlocGateway(options.family, site, number))}`,
          'priority = 1',
          `weight = ${Math.floor(100 / options.rlocs)}`,
        ],
        true,
      ),
    );
}

function mapServer(host: DaemonHost, options: ConfigOptions): string[] {
  return table(
    host,
    'lisp.map_server',
    options,
    [
      `address = ${quote(addresses.map(options.family))}`,
      'key_id = 1',
      `key = ${quote(SITE_KEY)}`,
      'algorithm = "hmac-sha-256-128-hkdf"',
    ],
    true,
  );
}

function probe(host: DaemonHost, options: ConfigOptions): string[] {
  const { intervalMs, timeoutMs, failures } = options.probe ?? {
    intervalMs: 500,
    timeoutMs: 300,
    failures: 2,
  };
  return table(host, 'lisp.probe', options, [
    `interval_ms = ${intervalMs}`,
    `timeout_ms = ${timeoutMs}`,
    `failures = ${failures}`,
  ]);
}

function database(host: DaemonHost, eids: string[], options: ConfigOptions): string[] {
  return eids.flatMap((eid) =>
    table(host, 'lisp.database', options, [`eid = ${quote(eid)}`, 'ttl_seconds = 900'], true),
  );
}

/** EIDs that stand for the client: the gateway's own ('nat') or the client's ('client'). */
function clientEids(options: ConfigOptions): string[] {
  return [
    addresses.natPrefix(options.family),
    ...(options.source === 'client' ? [addresses.clientPrefix(options.family)] : []),
  ];
}

function gateway(options: ConfigOptions): string[] {
  const { family } = options;
  const host = 'gateway';
  return [
    ...common(host, ['access'], options),
    ...rlocs(host, 0, options),
    ...table(host, 'lisp', options, [`map_resolvers = [${quote(addresses.map(family))}]`]),
    ...probe(host, options),
    ...mapServer(host, options),
    ...database(host, clientEids(options), options),
    ...table(host, 'intercept', options, [
      `interfaces = [${quote(INSIDE)}]`,
      `ports = ["80-82", "443", "5201-5220", "${PORTS.tests.from}-${PORTS.tests.to}"]`,
      `source = ${quote(options.source)}`,
      `nat = [${quote(addresses.natPrefix(family))}]`,
    ]),
    ...table(host, 'mptcp', options, [
      `max_subflows = ${Math.max(4, options.rlocs)}`,
      'congestion_control = "cubic"',
    ]),
    ...table(host, 'relay', options, ['drain_seconds = 3']),
  ];
}

function dataCentre(site: 1 | 2, options: ConfigOptions): string[] {
  const { family } = options;
  const host: DaemonHost = site === 1 ? 'dc1' : 'dc2';
  return [
    ...common(host, ['xtr'], options),
    ...rlocs(host, site, options),
    ...table(host, 'lisp', options, [
      `map_resolvers = [${quote(addresses.map(family))}]`,
      // What clients' gateways use as identity goes through LISP; everything else natively.
      `routes = [${clientEids(options).map(quote).join(', ')}]`,
    ]),
    ...probe(host, options),
    ...mapServer(host, options),
    ...(options.site === site ? database(host, [addresses.serverPrefix(family)], options) : []),
  ];
}

function map(options: ConfigOptions): string[] {
  const { family } = options;
  const host = 'map';
  const site = (name: string, eids: string[]): string[] =>
    table(
      host,
      'map_server.site',
      options,
      [
        `name = ${quote(name)}`,
        'key_id = 1',
        `key = ${quote(SITE_KEY)}`,
        'algorithm = "hmac-sha-256-128-hkdf"',
        'eids = [',
        ...eids.map((eid) => `  { prefix = ${quote(eid)}, iid = 0, accept_more_specifics = true },`),
        ']',
      ],
      true,
    );
  return [
    ...common(host, ['map-server'], options),
    ...table(host, 'map_server', options, [`addresses = [${quote(addresses.map(family))}]`]),
    ...site('access', clientEids({ ...options, source: 'client' })),
    ...site('cloud', [addresses.sitePrefix(family)]),
  ];
}

export function configFile(host: DaemonHost, options: ConfigOptions): string {
  const lines =
    host === 'gateway'
      ? gateway(options)
      : host === 'map'
        ? map(options)
        : dataCentre(host === 'dc1' ? 1 : 2, options);
  const extra = options.extra?.[host];
  return `${[`# amptcp lab: ${host}`, ...lines, ...(extra ? ['', extra] : [])].join('\n')}\n`;
}
