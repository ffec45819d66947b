// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the site scenario: a network namespace with the emulator in it, and all that is not FreeBSD.
 *
 *   client ---- gateway: amptcpd for Linux, and map-server ==== vm0, vm1 ==== vtnet0, vtnet1: the xTR      :guest
 *               amptcpd whose kernel is the guest's ---- TCP, forwarded by QEMU ---- agent (jail xb)
 *               MPTCP server ---- bridge, vm2 ============================ vtnet2: the site's network
 */
import { agentEnd } from './agent-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

export const siteHost = (context: ScenarioContext): Promise<HostSide | { skip: string }> =>
  agentEnd(context, {
    addresses: ['203.0.111.1'],
    more: [['203.0.112.1'], []],
    hosts: ['203.0.113.53'],
    script: 'site-end.js',
  });
