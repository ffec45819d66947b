// SPDX-License-Identifier: BSD-2-Clause

/**
 * The LISP data plane without a device: the same C core, packet in, packets out, on the caller's clock. Nothing happens but
 * inside the calls made to it, so a simulated network stays deterministic; events come before the call returns.
 */
import type {
  NativeOuter,
  NativePlane,
  NativePlanePart,
  NativeResult,
} from '../../native/common/plane.types.js';
import { nativePart } from '../../native/index.js';
import type { Mapping, Path } from '../../lisp/mapping.js';
import { planeAction, planeLocators } from '../plane-mapping.js';
import {
  PlatformError,
  type Clock,
  type Endpoint,
  type Flow,
  type LispDataPlane,
  type PathCounters,
  type PlaneEvent,
  type PlaneOptions,
  type PlanePin,
  type PlaneStats,
} from '../platform.js';

/** RFC 9300 section 4.1. */
const DATA_PORT = 4341;
const DEFAULT_MTU = 1464;
const OVERHEAD = 36;
const HOUSEKEEPING_MS = 1000;

export interface OuterPacket {
  local: string;
  remote: Endpoint;
  /** UDP payload: LISP header and inner packet. */
  data: Uint8Array;
  sourcePort?: number;
  /** DSCP and ECN, TTL of the outer header. */
  tos?: number;
  ttl?: number;
}

export interface MemoryPlaneOutputs {
  /** To be sent to UDP port 4341 of a remote RLOC. */
  outer(packet: OuterPacket): void;
  /** Decapsulated and accepted, or an ICMP answer to what was put in. */
  inner(packet: Uint8Array): void;
}

export class MemoryLispDataPlane implements LispDataPlane {
  readonly kind = 'memory';
  readonly #plane: NativePlane;
  #onEvent: ((event: PlaneEvent) => void) | undefined;
  #running = false;
  #timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly out: MemoryPlaneOutputs,
    native: NativePlanePart = nativePart('plane'),
  ) {
    this.#plane = new native.Plane(0);
  }

  get #now(): number {
    return Math.max(0, Math.floor(this.clock.now()));
  }

  async start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }> {
    if (this.#running) throw new PlatformError('the data plane runs already', 'EALREADY');
    await this.update(options);
    this.#onEvent = onEvent;
    this.#running = true;
    this.#tick();
    return { device: options.device, mtu: options.mtu ?? DEFAULT_MTU };
  }

  update(options: PlaneOptions): Promise<void> {
    this.#plane.setSite({
      iid: options.iid,
      rlocs: options.localRlocs,
      eids: options.localEids,
      routes: options.routes,
      sourceCheck: options.sourceCheck,
      glean: options.glean,
      underlayMtu: (options.mtu ?? DEFAULT_MTU) + OVERHEAD,
    });
    return Promise.resolve();
  }

  #tick(): void {
    this.#timer = this.clock.setTimeout(() => {
      if (!this.#running) return;
      this.#plane.housekeeping(this.#now);
      this.#tick();
    }, HOUSEKEEPING_MS);
  }

  /** An inner packet, as if the host had routed it into the device. */
  input(inner: Uint8Array): void {
    if (this.#running) this.#emit(this.#plane.encapsulate(inner, this.#now));
  }

  /** What arrived at UDP port 4341 of a local RLOC. */
  receive({ local, remote, data, tos = 0, ttl = 64 }: OuterPacket): void {
    if (!this.#running) return;
    const outer: NativeOuter = { local, remote: remote.address, sourcePort: remote.port, tos, ttl, data };
    this.#emit(this.#plane.decapsulate(outer, this.#now));
  }

  #emit({ outer, inner }: NativeResult): void {
    // Events first: who hears of a miss or a gleaned flow must know before what follows from the packet.
    for (const event of this.#plane.events()) this.#onEvent?.(event);
    if (outer) {
      const { local, remote, data, sourcePort, tos, ttl } = outer;
      this.out.outer({ local, remote: { address: remote, port: DATA_PORT }, data, sourcePort, tos, ttl });
    }
    if (inner) this.out.inner(inner);
  }

  setMapping(mapping: Mapping): void {
    this.#plane.setMapping(mapping.iid, mapping.eid, planeAction(mapping), planeLocators(mapping.locators));
    if (this.#running) for (const result of this.#plane.released(this.#now)) this.#emit(result);
  }

  deleteMapping(iid: number, eid: string): void {
    this.#plane.deleteMapping(iid, eid);
  }

  listMappings(): ReturnType<LispDataPlane['listMappings']> {
    return this.#plane.listMappings();
  }

  setPathState(path: Path, up: boolean): void {
    this.#plane.setPathState(path, up);
  }

  pin(flow: Flow, path: Path, iid = 0): void {
    this.#plane.pin(flow, path, iid);
  }

  unpin(flow: Flow, iid = 0): void {
    this.#plane.unpin(flow, iid);
  }

  listPins(): PlanePin[] {
    return this.#plane.listPins();
  }

  paths(): PathCounters[] {
    return this.#plane.paths();
  }

  stats(): PlaneStats {
    return this.#plane.stats();
  }

  stop(): Promise<void> {
    this.#running = false;
    this.clock.clearTimeout(this.#timer);
    this.#onEvent = undefined;
    return Promise.resolve();
  }
}
