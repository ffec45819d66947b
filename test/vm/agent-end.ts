// SPDX-License-Identifier: BSD-2-Clause

/**
 * The way to the agent in the guest, for a daemon on this host: QEMU forwards a port of the host's loopback interface.
 *
 *   daemon -- agent-link.ts -- 127.0.0.1:port -- QEMU -- 10.0.2.15:4343, the agent      :guest
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { linuxEnd, type LinuxEnd } from './linux-end.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

const AGENT = { address: '10.0.2.15', port: 4343 };

/** What a script that runs such a daemon is told. */
export interface AgentSite {
  /** For the daemon's files. */
  directory: string;
  /** Where the agent is reached. */
  port: number;
}

/** In a namespace of its own nobody else listens on anything: any port does there, and this one is free here at least. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** The guest's interface that leads here and nowhere else, as arguments of QEMU's. */
export const agentDevice = (nic: ScenarioContext['nic'], port: number): string[] => [
  '-netdev',
  `user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:${port}-${AGENT.address}:${AGENT.port}`,
  '-device',
  `${nic},netdev=host`,
];

/** A Linux end whose script, beside the rest, runs a daemon on the guest's kernel. */
export async function agentEnd(
  { nic }: ScenarioContext,
  end: Omit<LinuxEnd, 'argument'>,
): Promise<HostSide | { skip: string }> {
  const directory = mkdtempSync(join(tmpdir(), `amptcp-vm-${basename(end.script, '-end.js')}-`));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  const site: AgentSite = { directory, port: await freePort() };
  const side = await linuxEnd({ ...end, argument: JSON.stringify(site) });
  if ('skip' in side) {
    remove();
    return side;
  }
  return {
    ...side,
    devices: [...side.devices, ...agentDevice(nic, site.port)],
    async close() {
      await side.close();
      remove();
    },
  };
}
