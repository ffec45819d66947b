// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the control scenario: three daemons as a user starts them, two of them with the guest's kernel.
 *
 *   map-server (this kernel) ---- vm0 ==== vtnet0 (p1) ---- xa: gateway, guard and daemon
 *                                                    \---- xb: xTR of the server's site
 */
import { nodeInGuest, whereTheyRun, type DaemonsSite } from './daemons.js';
import { linuxEnd } from './linux-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

const ACCOUNT = 434;
const MAP = '203.0.150.10';

const asking = `
[lisp]
map_resolvers = ["${MAP}"]
`;

const common = `
[lisp.probe]
interval_ms = 2000
timeout_ms = 1500
failures = 2

[[lisp.map_server]]
address = "${MAP}"
key_id = 1
key = "three may keep a secret"
algorithm = "hmac-sha-256-128-hkdf"
`;

const rlocs = (...addresses: string[]): string =>
  addresses.map((address) => `\n[[rloc]]\naddress = "${address}"\n`).join('');

const database = (...eids: string[]): string =>
  eids.map((eid) => `\n[[lisp.database]]\neid = "${eid}"\nttl_seconds = 900\n`).join('');

const GATEWAY_EIDS = ['192.0.2.8/30', '2001:db8:9::8/126'];
const SERVER_EIDS = ['198.18.2.0/24', '2001:db8:2::/64'];

const GATEWAY = `roles = ["access"]
user = "amptcp"
group = "amptcp"
${rlocs('203.0.111.1', '203.0.112.1')}${asking}${common}${database(...GATEWAY_EIDS)}
[intercept]
interfaces = ["epair0b"]
ports = ["5001-5099"]
include = ["198.18.0.0/16", "2001:db8::/32"]
nat = ${JSON.stringify(GATEWAY_EIDS)}

[relay]
drain_seconds = 1
`;

const site = (...addresses: string[]): string => `roles = ["xtr"]
${rlocs(...addresses)}${asking}routes = ${JSON.stringify(GATEWAY_EIDS)}
${common}${database(...SERVER_EIDS)}`;

const mapSite = (name: string, prefixes: string[]): string => `
[[map_server.site]]
name = "${name}"
key_id = 1
key = "three may keep a secret"
algorithm = "hmac-sha-256-128-hkdf"
eids = [${prefixes.map((prefix) => `{ prefix = "${prefix}", iid = 0, accept_more_specifics = true }`).join(', ')}]
`;

export const controlSite: DaemonsSite = {
  routes: [111, 112, 121, 122].map((net) => `203.0.${net}.0/24 via 203.0.150.1`),
  daemons: {
    map: {
      configs: {
        first: `roles = ["map-server"]

[map_server]
addresses = ["${MAP}"]
${mapSite('access', GATEWAY_EIDS)}${mapSite('cloud', ['198.18.0.0/16', '2001:db8:2::/48'])}`,
      },
    },
    site: {
      agent: { address: '203.0.121.1:4343', jail: 'xb' },
      configs: {
        first: site('203.0.121.1', '203.0.122.1'),
        second: site('203.0.121.1'),
      },
    },
    gateway: {
      agent: { address: '203.0.111.1:4343', jail: 'xa' },
      configs: { first: GATEWAY },
      gid: ACCOUNT,
    },
  },
};

export function controlHost({ environment }: ScenarioContext): Promise<HostSide | { skip: string }> {
  console.log(whereTheyRun('control', environment));
  const here = Object.entries(controlSite.daemons).filter(
    ([, { agent }]) => agent === undefined || !nodeInGuest(environment),
  );
  return linuxEnd({
    addresses: [MAP],
    script: 'daemons-end.js',
    argument: JSON.stringify({ ...controlSite, daemons: Object.fromEntries(here) }),
  });
}
