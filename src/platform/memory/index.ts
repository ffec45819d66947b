// SPDX-License-Identifier: BSD-2-Clause

/**
 * A platform without an operating system: simulated network, simulated MPTCP, scripted clients. Everything above it, and the
 * data plane given to it, is the real thing.
 *
 *   scripted client -> MemoryInterceptor -> (gateway) -> MemoryConnector -> SimulatedHost
 *                                                            inner packets |  ^
 *                                                                          v  |
 *                       SimulatedNetwork (paths with rate, delay, cuts) <- PacketPlane
 */
import type { Clock, ControlTransport, Finding, LispDataPlane, Platform } from '../platform.js';
import { systemClock } from './clock.js';
import { MemoryControl } from './control.js';
import { SimulatedHost, type HostOptions, type Output } from './host.js';
import { MemoryInterceptor } from './interceptor.js';
import { MemoryConnector } from './mptcp-connector.js';
import { NativeNetwork } from './native.js';
import { SimulatedNetwork } from './network.js';
import { MemoryRelay } from './relay.js';
import { Descriptors } from './stream.js';

export { systemClock, VirtualClock } from './clock.js';
export { SimulatedHost, type SimulatedConnection, type ListenOptions } from './host.js';
export { MemoryInterceptor, type ScriptedConnection } from './interceptor.js';
export { NativeNetwork } from './native.js';
export { SimulatedNetwork, type LinkOptions } from './network.js';
export { Descriptors, type Stream } from './stream.js';

/** A data plane that is driven packet by packet. */
export interface PacketPlane extends LispDataPlane {
  /** An inner packet, as if the host had sent it into the device. */
  input(inner: Uint8Array): void;
  /** An outer packet that has arrived at UDP port 4341 of a local RLOC. */
  receive(outer: { local: string; remote: { address: string; port: number }; data: Uint8Array }): void;
}

export interface PlaneOutputs {
  /** To be sent from a local RLOC. */
  outer(packet: { local: string; remote: { address: string; port: number }; data: Uint8Array }): void;
  /** Decapsulated and accepted. */
  inner(packet: Uint8Array): void;
}

export interface MemoryPlatformOptions {
  plane(clock: Clock, out: PlaneOutputs): PacketPlane;
  clock?: Clock;
  network?: SimulatedNetwork;
  native?: NativeNetwork;
  /** Outer addresses of this host. */
  rlocs: string[];
  /** Who gets what was decapsulated; the platform's own host unless told otherwise. */
  behind?: SimulatedHost;
  /** Addresses of this host, or of clients behind it, that ordinary routes lead to. */
  nativePrefixes?: string[];
  /** true: a client's SYN is held until the gateway has decided (FreeBSD). */
  holdsSyn?: boolean;
  multipath?: boolean;
  host?: Partial<HostOptions>;
}

/** LISP data packets (RFC 9300 section 4.1). */
const DATA_PORT = 4341;

export interface MemoryPlatform extends Platform {
  readonly name: 'memory';
  readonly interceptor: MemoryInterceptor;
  readonly plane: PacketPlane;
  readonly relay: MemoryRelay;
  readonly control: ControlTransport;
  readonly host: SimulatedHost;
  readonly network: SimulatedNetwork;
  readonly native: NativeNetwork;
  readonly descriptors: Descriptors;
}

export function createMemoryPlatform(options: MemoryPlatformOptions): MemoryPlatform {
  const clock = options.clock ?? systemClock;
  const network = options.network ?? new SimulatedNetwork(clock);
  const native = options.native ?? new NativeNetwork(clock);
  const descriptors = new Descriptors();
  const host = options.behind ?? new SimulatedHost(clock, options.host);
  const intoLisp: Output = (packet) => plane.input(packet);
  const plane: PacketPlane = options.plane(clock, {
    outer: ({ local, remote, data }) =>
      network.send({ from: { address: local, port: DATA_PORT }, to: remote, data }),
    inner: (packet) => host.input(packet, intoLisp),
  });
  const detach = options.rlocs.map((local) =>
    network.attach(local, DATA_PORT, ({ from, data }) => plane.receive({ local, remote: from, data })),
  );
  for (const prefix of options.nativePrefixes ?? []) {
    detach.push(native.attach(prefix, (packet, reply) => host.input(packet, reply)));
  }
  return {
    name: 'memory',
    clock,
    network,
    native,
    descriptors,
    host,
    plane,
    interceptor: new MemoryInterceptor(descriptors, clock, options.holdsSyn),
    connector: new MemoryConnector(
      host,
      descriptors,
      { lisp: intoLisp, native: native.output },
      options.multipath,
    ),
    relay: new MemoryRelay(descriptors, clock),
    control: new MemoryControl(network),
    doctor: (): Promise<Finding[]> =>
      Promise.resolve([{ name: 'platform', ok: true, detail: 'simulated: nothing of this host is used' }]),
    close: () => {
      for (const end of detach) end();
      return Promise.resolve();
    },
    clean: () => Promise.resolve(),
  };
}
