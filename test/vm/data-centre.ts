// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the data-centre scenario: one network namespace with the emulator, the daemon and the clients in it.
 *
 *   daemon -- agent-link.ts -- TCP, forwarded by QEMU -- agent (jail xa) -- pf, tproxy(4), mptcp(4)   :guest
 *   clients with and without MPTCP -- vm0 (tap) ==== vtnet0 (jail xa) -- servers without MPTCP (jail hb)
 */
import { agentEnd } from './agent-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

export const dataCentreHost = (context: ScenarioContext): Promise<HostSide | { skip: string }> =>
  agentEnd(context, {
    addresses: ['203.0.113.2', '203.0.113.3', '2001:db8:f::2', '2001:db8:f::3'],
    script: 'data-centre-end.js',
  });
