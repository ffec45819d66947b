// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the chain scenario: one network namespace with the emulator, the daemon and the server's site in it.
 *
 *   daemon -- agent-link.ts -- TCP, forwarded by QEMU -- agent (jail xa) -- pf, tproxy(4), mptcp(4), lisp(4)   :guest
 *   MPTCP server -- lisp0 -- LISP data plane for Linux -- vm0 (tap) ==== vtnet0, the providers' router          :guest
 */
import { agentEnd } from './agent-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

export const chainHost = (context: ScenarioContext): Promise<HostSide | { skip: string }> =>
  agentEnd(context, {
    addresses: ['203.0.113.2', '203.0.121.1', '203.0.122.1'],
    hosts: ['198.18.2.10', '198.18.4.10', '198.18.5.10'],
    script: 'chain-end.js',
  });
