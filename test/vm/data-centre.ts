// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the data-centre scenario: one network namespace with the emulator, the daemon and the clients in it.
 *
 *   daemon -- agent-link.ts -- TCP, forwarded by QEMU -- agent (jail xa) -- pf, tproxy(4), mptcp(4)   :guest
 *   clients with and without MPTCP -- vm0 (tap) ==== vtnet0 (jail xa) -- servers without MPTCP (jail hb)
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AGENT, freePort } from './agent-address.js';
import type { DataCentreSite } from './data-centre-end.js';
import { linuxEnd } from './linux-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

export async function dataCentreHost({ nic }: ScenarioContext): Promise<HostSide | { skip: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'amptcp-vm-data-centre-'));
  const site: DataCentreSite = { directory, port: await freePort() };
  const end = await linuxEnd({
    addresses: ['203.0.113.2', '203.0.113.3', '2001:db8:f::2', '2001:db8:f::3'],
    script: 'data-centre-end.js',
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
      `user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:${site.port}-${AGENT.address}:${AGENT.port}`,
      '-device',
      `${nic},netdev=host`,
    ],
    async close() {
      await end.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
