// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the site scenario: a network namespace with the emulator in it, and all that is not FreeBSD.
 *
 *   client ---- gateway: amptcpd for Linux, and map-server ==== vm0, vm1 ==== vtnet0, vtnet1: the xTR      :guest
 *               amptcpd whose kernel is the guest's ---- TCP, forwarded by QEMU ---- agent (jail xb)
 *               MPTCP server ---- bridge, vm2 ============================ vtnet2: the site's network
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linuxEnd } from './linux-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';
import type { Site } from './site-end.js';

const AGENT = { address: '10.0.2.15', port: 4343 };
/** In the namespace nobody else listens on anything. */
const PORT = 43_430;

export async function siteHost({ nic }: ScenarioContext): Promise<HostSide | { skip: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'amptcp-vm-site-'));
  const site: Site = { directory, agent: `127.0.0.1:${PORT}` };
  const end = await linuxEnd({
    addresses: ['203.0.111.1'],
    more: [['203.0.112.1'], []],
    hosts: ['203.0.113.53'],
    script: 'site-end.js',
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
      `user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:${PORT}-${AGENT.address}:${AGENT.port}`,
      '-device',
      `${nic},netdev=host`,
    ],
    async close() {
      await end.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
