// SPDX-License-Identifier: BSD-2-Clause

/** Fifth stage: both sockets go to the platform's relay; from here on the bytes pass JavaScript by. */
import type { MptcpConnection, Relay, RelaySession } from '../platform/platform.js';
import type { ClientFlow } from '../platform/platform.js';

export interface RelaySettings {
  idleTimeoutSeconds: number;
  halfOpenTimeoutSeconds: number;
  keepaliveSeconds: number;
}

/** @throws PlatformError when the client has gone; the server side is closed then. */
export async function startRelay(
  relay: Relay,
  flow: ClientFlow,
  link: MptcpConnection,
  settings: RelaySettings,
): Promise<RelaySession> {
  let client;
  try {
    client = await flow.accept();
  } catch (error) {
    link.abandon();
    link.dispose();
    throw error;
  }
  return relay.run(client, link.socket, {
    idleTimeoutMs: settings.idleTimeoutSeconds * 1000,
    halfOpenTimeoutMs: settings.halfOpenTimeoutSeconds * 1000,
    keepaliveSeconds: settings.keepaliveSeconds,
    ...(link.acknowledge && { onStarved: () => link.acknowledge!() }),
  });
}
