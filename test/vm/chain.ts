// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the chain scenario: one network namespace with the emulator, the daemon and the server's site in it.
 *
 *   daemon -- agent-link.ts -- TCP, forwarded by QEMU -- agent (jail xa) -- pf, tproxy(4), mptcp(4), lisp(4)   :guest
 *   MPTCP server -- lisp0 -- LISP data plane for Linux -- vm0 (tap) ==== vtnet0, the providers' router          :guest
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AGENT, freePort } from './agent-address.js';
import type { ChainSite } from './chain-end.js';
import { linuxEnd } from './linux-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

export async function chainHost({ nic }: ScenarioContext): Promise<HostSide | { skip: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'amptcp-vm-chain-'));
  const port = await freePort();
  const site: ChainSite = { directory, port };
  const end = await linuxEnd({
    addresses: ['203.0.113.2', '203.0.121.1', '203.0.122.1'],
    hosts: ['198.18.2.10', '198.18.4.10', '198.18.5.10'],
    script: 'chain-end.js',
    argument: JSON.stringify(site),
  });
  if ('skip' in end) {
    rmSync(directory, { recursive: true, force: true });
    return end;
  }
  return {
    ...end,
    devices: [
      ...end.devices,
      '-netdev',
      `user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:${port}-${AGENT.address}:${AGENT.port}`,
      '-device',
      `${nic},netdev=host`,
    ],
    async close() {
      await end.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
