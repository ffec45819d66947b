// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the gateway scenarios: the daemon runs here, its kernel is the guest's. Where Node.js is in the guest, the daemon
 * is there (gateway-native.ts), and nobody asks here.
 *
 *   Daemon, FreeBSD platform (here) -- agent-link.ts -- TCP, forwarded by QEMU -- agent (jail xa) -- pf, tproxy(4), lisp(4)
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentDevice, freePort } from './agent-end.js';
import { AgentLink, remoteNative } from './agent-link.js';
import { nodeInGuest, whereTheyRun } from './daemons.js';
import { gatewayDaemon } from './gateway-daemon.js';
import { buildPortAddon } from './image.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

export async function gatewayHost(context: ScenarioContext): Promise<HostSide> {
  const { environment } = context;
  const directory = mkdtempSync(join(tmpdir(), 'amptcp-vm-gateway-'));
  if (!nodeInGuest(environment)) {
    // It cannot be loaded here, but that it compiles and links is seen.
    await buildPortAddon(context.project, join(directory, 'amptcp.node'), environment, context.tools);
    console.log("# gateway: the port's script builds the addon for FreeBSD");
  }
  const port = await freePort();
  console.log(whereTheyRun('gateway', environment, 'daemon'));
  const daemon = gatewayDaemon(directory, async () => {
    const link = await AgentLink.open('127.0.0.1', port);
    return { ...remoteNative(link), trace: link.trace, close: () => link.close() };
  });
  return {
    prefix: [],
    devices: agentDevice('virtio-net-device', port),
    request: (words) => daemon.command(words),
    async close() {
      await daemon.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
