// SPDX-License-Identifier: BSD-2-Clause

/**
 * One host's control plane: takes datagrams of UDP port 4342, decodes each once, and gives it to the role it is for.
 * Whatever is wrong with a datagram ends here as a counted drop.
 */
import { CodecError } from './codec/bytes.js';
import { decapsulate } from './codec/ecm.js';
import { decodeMessage, type Encapsulated } from './codec/messages.js';
import type { ControlDatagram, ControlEnvironment } from './environment.js';
import type { XtrOptions } from './local-site.js';
import { MapServer, type MapServerOptions } from './map-server.js';
import type { ControlStore } from './registration.js';
import { Xtr } from './xtr.js';

export interface ControlPlaneOptions {
  xtr?: XtrOptions;
  mapServer?: MapServerOptions;
}

export class ControlPlane {
  readonly xtr: Xtr | undefined;
  readonly mapServer: MapServer | undefined;

  constructor(
    readonly environment: ControlEnvironment,
    options: ControlPlaneOptions,
    store: ControlStore,
  ) {
    this.xtr = options.xtr && new Xtr(environment, options.xtr, store);
    this.mapServer = options.mapServer && new MapServer(environment, options.mapServer);
  }

  start(): void {
    this.mapServer?.start();
    this.xtr?.start();
  }

  /** The roles themselves are fixed at start; a part that is missing stays as it was. */
  update(options: ControlPlaneOptions): void {
    if (options.mapServer) this.mapServer?.update(options.mapServer);
    if (options.xtr) this.xtr?.update(options.xtr);
  }

  stop(): void {
    this.xtr?.stop();
    this.mapServer?.stop();
  }

  /** Never throws on account of what is in the datagram. */
  receive(datagram: ControlDatagram): void {
    const { counters, log } = this.environment;
    try {
      this.dispatch(datagram);
    } catch (error) {
      if (error instanceof CodecError) {
        counters.add(`drop.${error.code}`);
      } else {
        // A bug of ours, which must not become a way to stop the daemon from outside.
        counters.add('drop.internal-error');
        log({
          level: 'warn',
          event: 'control-internal-error',
          message: `handling a datagram from ${datagram.remote.address}: ${String(error)}`,
          stack: (error as Error).stack,
        });
      }
    }
  }

  private dispatch(datagram: ControlDatagram): void {
    const { counters } = this.environment;
    const message = decodeMessage(datagram.data);
    const noRole = (): void => counters.add(`drop.no-role-for-${message.type}`);
    switch (message.type) {
      case 'map-request':
        return this.xtr ? this.xtr.mapRequest(message, datagram) : noRole();
      case 'map-reply':
        return this.xtr ? this.xtr.mapReply(message, datagram) : noRole();
      case 'map-notify':
        return this.xtr ? this.xtr.mapNotify(message, datagram) : noRole();
      case 'map-register':
        return this.mapServer ? this.mapServer.mapRegister(message, datagram) : noRole();
      case 'map-notify-ack':
        return this.mapServer ? this.mapServer.mapNotifyAck(message, datagram) : noRole();
      case 'encapsulated':
        return this.encapsulated(message, datagram);
      case 'unknown':
        return counters.add('drop.unknown-type');
    }
  }

  private encapsulated(outer: Encapsulated, datagram: ControlDatagram): void {
    const { counters } = this.environment;
    const { inner, message } = decapsulate(outer);
    if (message.type !== 'map-request') return counters.add('drop.encapsulated-not-map-request');
    // On a host that is both, what is ours is answered as ETR; all else that comes to the resolver's address is resolved.
    const forResolver = this.mapServer?.isLocal(datagram.local) && !this.xtr?.owns(message);
    if (this.mapServer && (forResolver || !this.xtr))
      return this.mapServer.mapRequest(message, datagram, inner, outer);
    if (this.xtr) return this.xtr.mapRequest(message, datagram, inner);
    counters.add('drop.no-role-for-encapsulated');
  }
}
