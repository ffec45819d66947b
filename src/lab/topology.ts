// SPDX-License-Identifier: BSD-2-Clause

/**
 * The test network as values: hosts, links, addresses, routes. Pure; `lab.ts` makes it real.
 *
 *                       +-- provider1 --+
 *   client -- gateway --+-- provider2 --+-- dc1 -- server       (dc2: the site the server can move to)
 *                       +-- provider3 --+-- dc2
 *                               |
 *                        exchange -- map     (map-server and map-resolver)
 *                                \-- web     (a server without mapping)
 *
 * Every host is a network namespace, every link a veth pair. Providers shape what they send towards the gateway and
 * towards the data centres to their rate. They meet at the exchange, so every RLOC can reach every other, as in the
 * Internet; the server's prefix is also announced natively, through provider 1.
 */

export type Family = 4 | 6;

export interface TopologyOptions {
  /** Providers, and with them RLOCs of each site. */
  rlocs: number;
  /** Mbit/s of each provider, each direction; 0 for unshaped. */
  rateMbps: number;
}

interface Attachment {
  host: string;
  device: string;
  addresses: string[];
  /** Mbit/s of what the host sends here. */
  shapedMbps?: number;
}

export interface Link {
  a: Attachment;
  b: Attachment;
}

export const MAX_RLOCS = 8;

/** How much a provider's queue holds, milliseconds at its rate. */
const BUFFER_MS = 50;
/**
 * How much a provider may send at once after it could not, likewise. A processor that is busy elsewhere wakes the shaper late, and with a
 * shallow bucket the link would be slower than it is said to be: with 4 ms, 97 % of 500 Mbit/s on a busy host.
 */
const BURST_MS = 20;

/** Addresses by family; the third octet or group tells what it is (see the table in the README). */
export const addresses = {
  client: (family: Family) => (family === 4 ? '10.10.0.2' : '2001:db8:10::2'),
  clientPrefix: (family: Family) => (family === 4 ? '10.10.0.0/24' : '2001:db8:10::/64'),
  gatewayInside: (family: Family) => (family === 4 ? '10.10.0.1' : '2001:db8:10::1'),
  /** Provider `index` counts from 1. `site`: gateway 0, first data centre 1, second 2. */
  rloc: (family: Family, site: 0 | 1 | 2, index: number) => transit(family, site, index, 2),
  rlocGateway: (family: Family, site: 0 | 1 | 2, index: number) => transit(family, site, index, 1),
  natPrefix: (family: Family) => (family === 4 ? '192.0.2.0/28' : '2001:db8:192::/120'),
  server: (family: Family) => (family === 4 ? '198.18.1.10' : '2001:db8:198:1::10'),
  serverPrefix: (family: Family) => (family === 4 ? '198.18.1.0/24' : '2001:db8:198:1::/64'),
  serverGateway: (family: Family) => (family === 4 ? '198.18.1.1' : '2001:db8:198:1::1'),
  /** In the mapped prefix, and nobody there. */
  absent: (family: Family) => (family === 4 ? '198.18.1.99' : '2001:db8:198:1::99'),
  /** What the map-server takes registrations for. */
  sitePrefix: (family: Family) => (family === 4 ? '198.18.0.0/16' : '2001:db8:198::/48'),
  map: (family: Family) => (family === 4 ? '203.0.150.10' : '2001:db8:150::10'),
  web: (family: Family) => (family === 4 ? '203.0.151.10' : '2001:db8:151::10'),
};

function transit(family: Family, site: number, index: number, host: number): string {
  const network = 112 + site * 10 + index;
  return family === 4 ? `203.0.${network}.${host}` : `2001:db8:${network}::${host}`;
}

const length = (family: Family): number => (family === 4 ? 24 : 64);
const both = (address: (family: Family) => string): string[] => [
  `${address(4)}/${length(4)}`,
  `${address(6)}/${length(6)}`,
];

export const provider = (index: number): string => `provider${index}`;
/** Device names at a provider: towards the gateway, a data centre, the exchange. */
export const PROVIDER_DEVICE = { gateway: 'gw0', dc1: 'dc1', dc2: 'dc2', exchange: 'ix0' };
/** Devices by which gateway and data centres face provider `index`, and what faces the client or server. */
export const uplink = (index: number): string => `up${index}`;
export const INSIDE = 'in0';

/** Routers everywhere but at the edges. */
const ROUTERS = ['gateway', 'dc1', 'dc2', 'exchange'];

const peering = (family: Family, index: number, host: 1 | 2): string =>
  family === 4 ? `100.64.${index}.${host}` : `2001:db8:640:${index}::${host}`;

function indices(rlocs: number): number[] {
  return Array.from({ length: rlocs }, (_, index) => index + 1);
}

export function hostNames(options: TopologyOptions): string[] {
  return [
    'client',
    'gateway',
    ...indices(options.rlocs).map(provider),
    'exchange',
    'map',
    'web',
    'dc1',
    'dc2',
    'server',
  ];
}

export function links(options: TopologyOptions): Link[] {
  const shaped = options.rateMbps > 0 ? { shapedMbps: options.rateMbps } : {};
  const list: Link[] = [
    {
      a: { host: 'client', device: 'eth0', addresses: both(addresses.client) },
      b: { host: 'gateway', device: INSIDE, addresses: both(addresses.gatewayInside) },
    },
    {
      a: { host: 'dc1', device: INSIDE, addresses: both(addresses.serverGateway) },
      b: { host: 'server', device: 'eth0', addresses: both(addresses.server) },
    },
    {
      a: { host: 'exchange', device: 'map0', addresses: ['203.0.150.1/24', '2001:db8:150::1/64'] },
      b: { host: 'map', device: 'eth0', addresses: both(addresses.map) },
    },
    {
      a: { host: 'exchange', device: 'web0', addresses: ['203.0.151.1/24', '2001:db8:151::1/64'] },
      b: { host: 'web', device: 'eth0', addresses: both(addresses.web) },
    },
  ];
  for (const index of indices(options.rlocs)) {
    for (const [site, host] of (['gateway', 'dc1', 'dc2'] as const).entries()) {
      list.push({
        a: {
          host: provider(index),
          device: PROVIDER_DEVICE[host === 'gateway' ? 'gateway' : host],
          addresses: both((family) => addresses.rlocGateway(family, site as 0 | 1 | 2, index)),
          ...shaped,
        },
        b: {
          host,
          device: uplink(index),
          addresses: both((family) => addresses.rloc(family, site as 0 | 1 | 2, index)),
        },
      });
    }
    list.push({
      a: {
        host: provider(index),
        device: PROVIDER_DEVICE.exchange,
        addresses: [`${peering(4, index, 2)}/24`, `${peering(6, index, 2)}/64`],
      },
      b: {
        host: 'exchange',
        device: `pr${index}`,
        addresses: [`${peering(4, index, 1)}/24`, `${peering(6, index, 1)}/64`],
      },
    });
  }
  return list;
}

/** Arguments of `ip [-6] route replace`, by host. */
export function routes(options: TopologyOptions): { host: string; family: Family; route: string }[] {
  const list: { host: string; family: Family; route: string }[] = [];
  for (const family of [4, 6] as const) {
    const add = (host: string, prefix: string, via: string): void => {
      list.push({ host, family, route: `${prefix} via ${via}` });
    };
    add('client', 'default', addresses.gatewayInside(family));
    add('server', 'default', addresses.serverGateway(family));
    add('map', 'default', family === 4 ? '203.0.150.1' : '2001:db8:150::1');
    add('web', 'default', family === 4 ? '203.0.151.1' : '2001:db8:151::1');
    for (const [site, host] of (['gateway', 'dc1', 'dc2'] as const).entries()) {
      add(host, 'default', addresses.rlocGateway(family, site as 0 | 1 | 2, 1));
    }
    for (const index of indices(options.rlocs)) {
      add(provider(index), 'default', peering(family, index, 1));
      for (const site of [0, 1, 2] as const) {
        const network = addresses
          .rloc(family, site, index)
          .replace(family === 4 ? /2$/ : /:2$/, family === 4 ? '0/24' : ':/64');
        add('exchange', network, peering(family, index, 2));
      }
    }
    add(provider(1), addresses.clientPrefix(family), addresses.rloc(family, 0, 1));
    add('exchange', addresses.clientPrefix(family), peering(family, 1, 2));
    add('exchange', addresses.serverPrefix(family), peering(family, 1, 2));
    add(provider(1), addresses.serverPrefix(family), addresses.rloc(family, 1, 1));
  }
  return list;
}

/** The native announcement of the server's prefix, moved together with the server. */
export function serverRoutes(site: 1 | 2): { host: string; family: Family; route: string }[] {
  return ([4, 6] as const).map((family) => ({
    host: provider(1),
    family,
    route: `${addresses.serverPrefix(family)} via ${addresses.rloc(family, site, 1)}`,
  }));
}

const SETTINGS = [
  // Whatever this host's default: it is one that every kernel grants, and its figures are the steadiest of all.
  'net/ipv4/tcp_congestion_control=reno',
  'net/ipv4/conf/all/rp_filter=0',
  'net/ipv4/conf/default/rp_filter=0',
  'net/ipv6/conf/all/disable_ipv6=0',
  'net/ipv6/conf/default/disable_ipv6=0',
  // Addresses are usable at once, without waiting for duplicate address detection.
  'net/ipv6/conf/all/accept_dad=0',
  'net/ipv6/conf/default/accept_dad=0',
  'net/ipv6/conf/default/accept_ra=0',
];

/**
 * That a server is not there is known after less than a second instead of three. Not offered to unprivileged users: then it
 * takes three.
 */
const QUICK_NEIGHBOURS = [INSIDE, 'default'].flatMap((device) =>
  ['ipv4', 'ipv6'].map(
    (family) => `{ echo 250 > /proc/sys/net/${family}/neigh/${device}/retrans_time_ms; } 2>/dev/null || true`,
  ),
);

/** What the server's kernel must accept: a default one takes 2 further subflows. */
const SERVER_COMMANDS = ['ip mptcp limits set subflows 8 add_addr_accepted 8'];

/**
 * Shell scripts that make the network, in order: `before` runs in the namespace that holds all others, then one script in
 * each host. Written for /bin/sh with `ip`, `tc` only.
 */
export function scripts(options: TopologyOptions): { before: string; hosts: Map<string, string> } {
  const names = hostNames(options);
  const before = names.map((name) => `netns add ${name}`);
  const perHost = new Map<string, string[]>(names.map((name) => [name, []]));
  for (const name of names) {
    const lines = perHost.get(name)!;
    for (const setting of SETTINGS) {
      const [path, value] = setting.split('=');
      lines.push(`echo ${value} > /proc/sys/${path}`);
    }
    if (ROUTERS.includes(name) || name.startsWith('provider')) {
      lines.push('echo 1 > /proc/sys/net/ipv4/ip_forward', 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding');
    }
    lines.push('ip link set lo up');
  }
  for (const { a, b } of links(options)) {
    before.push(`link add ${a.device} netns ${a.host} type veth peer name ${b.device} netns ${b.host}`);
    for (const end of [a, b]) perHost.get(end.host)!.push(...attach(end));
  }
  for (const host of ['dc1', 'dc2']) perHost.get(host)!.push(...QUICK_NEIGHBOURS);
  for (const { host, family, route } of routes(options)) {
    perHost.get(host)!.push(`ip -${family} route replace ${route}`);
  }
  perHost.get('server')!.push(...SERVER_COMMANDS);
  return {
    before: `${before.join('\n')}\n`,
    hosts: new Map([...perHost].map(([host, lines]) => [host, `set -e\n${lines.join('\n')}\n`])),
  };
}

function attach(end: Attachment): string[] {
  const lines = end.addresses.map(
    (address) => `ip addr add ${address} dev ${end.device}${address.includes(':') ? ' nodad' : ''}`,
  );
  lines.push(`ip link set ${end.device} up`);
  if (end.shapedMbps !== undefined) lines.push(`tc ${shaping(end.device, end.shapedMbps)}`);
  return lines;
}

/** A super-packet larger than the burst is segmented by the qdisc. */
export function shaping(device: string, mbps: number): string {
  const burst = Math.max(16, Math.ceil((mbps * BURST_MS) / 8));
  return `qdisc replace dev ${device} root tbf rate ${mbps}mbit burst ${burst}k latency ${BUFFER_MS}ms`;
}
