// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the guard scenario: guard and daemon are processes here, their kernel is the guest's.
 *
 *   namespace:  guard, daemon -- vm0 (tap) ==== vtnet0 (jail p1) -- xa: agent of the guard (root), agent of the daemon (amptcp)
 */
import { nodeInGuest, whereTheyRun, type DaemonsSite } from './daemons.js';
import { linuxEnd } from './linux-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

/** Of user and group amptcp in the guest. */
const ACCOUNT = 434;

const CONFIG = `roles = ["access"]
user = "amptcp"
group = "amptcp"

[[rloc]]
address = "203.0.111.1"

[[rloc]]
address = "203.0.112.1"

[lisp.probe]
interval_ms = 3600000
timeout_ms = 60000
failures = 100

[[lisp.mapping]]
eid = "198.18.2.0/24"
rlocs = [{ address = "203.0.121.1" }, { address = "203.0.122.1" }]

[[lisp.mapping]]
eid = "2001:db8:2::/64"
rlocs = [{ address = "203.0.122.1" }]

[intercept]
interfaces = ["epair0b"]
ports = ["5001-5099"]
include = ["198.18.0.0/16", "2001:db8::/32"]
nat = ["192.0.2.8/30", "2001:db8:9::8/126"]

[relay]
drain_seconds = 1
`;

/** The server is to see the client's own address. */
const CLIENT = CONFIG.replace(/^nat = .*$/m, 'source = "client"').replace(
  '[intercept]',
  '[[lisp.database]]\neid = "198.18.1.0/24"\n\n[intercept]',
);

export const guardSite: DaemonsSite = {
  routes: ['203.0.111.0/24 via 203.0.150.1'],
  daemons: {
    gateway: {
      agent: { address: '203.0.111.1:4343', jail: 'xa' },
      configs: { first: CONFIG, client: CLIENT },
      gid: ACCOUNT,
    },
  },
};

export function guardHost({ environment }: ScenarioContext): Promise<HostSide | { skip: string }> {
  console.log(whereTheyRun('guard', environment));
  const here = Object.entries(guardSite.daemons).filter(
    ([, { agent }]) => agent === undefined || !nodeInGuest(environment),
  );
  return linuxEnd({
    addresses: ['203.0.150.10'],
    script: 'daemons-end.js',
    argument: JSON.stringify({ ...guardSite, daemons: Object.fromEntries(here) }),
  });
}
