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
import type { Mapping } from '../../lisp/mapping.js';
import { CoreLispDataPlane, DEFAULT_UNDERLAY_MTU, OUTER_HEADERS } from '../core-plane.js';
import {
  PlatformError,
  type Clock,
  type Endpoint,
  type PlaneEvent,
  type PlaneOptions,
  type PlaneStats,
} from '../platform.js';

/** RFC 9300 section 4.1. */
const DATA_PORT = 4341;
const DEFAULT_MTU = DEFAULT_UNDERLAY_MTU - OUTER_HEADERS[4];
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

export class MemoryLispDataPlane extends CoreLispDataPlane {
  readonly kind = 'memory';
  protected readonly tables: NativePlane;
  #onEvent: ((event: PlaneEvent) => void) | undefined;
  #running = false;
  #timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly out: MemoryPlaneOutputs,
    native: NativePlanePart = nativePart('plane'),
  ) {
    super();
    this.tables = new native.Plane(0);
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
    this.tables.setSite({
      iid: options.iid,
      rlocs: options.localRlocs,
      eids: options.localEids,
      routes: options.routes,
      sourceCheck: options.sourceCheck,
      glean: options.glean,
      underlayMtu: (options.mtu ?? DEFAULT_MTU) + OUTER_HEADERS[4],
    });
    return Promise.resolve();
  }

  #tick(): void {
    this.#timer = this.clock.setTimeout(() => {
      if (!this.#running) return;
      this.tables.housekeeping(this.#now);
      this.#tick();
    }, HOUSEKEEPING_MS);
  }

  /** An inner packet, as if the host had routed it into the device. */
  input(inner: Uint8Array): void {
    if (this.#running) this.#emit(this.tables.encapsulate(inner, this.#now));
  }

  /** What arrived at UDP port 4341 of a local RLOC. */
  receive({ local, remote, data, tos = 0, ttl = 64 }: OuterPacket): void {
    if (!this.#running) return;
    const outer: NativeOuter = { local, remote: remote.address, sourcePort: remote.port, tos, ttl, data };
    this.#emit(this.tables.decapsulate(outer, this.#now));
  }

  #emit({ outer, inner }: NativeResult): void {
    // Events first: who hears of a miss or a gleaned flow must know before what follows from the packet.
    for (const event of this.tables.events()) this.#onEvent?.(event);
    if (outer) {
      const { local, remote, data, sourcePort, tos, ttl } = outer;
      this.out.outer({ local, remote: { address: remote, port: DATA_PORT }, data, sourcePort, tos, ttl });
    }
    if (inner) this.out.inner(inner);
  }

  override setMapping(mapping: Mapping): void {
    super.setMapping(mapping);
    if (this.#running) for (const result of this.tables.released(this.#now)) this.#emit(result);
  }

  stats(): PlaneStats {
    return this.tables.stats();
  }

  stop(): Promise<void> {
    this.#running = false;
    this.clock.clearTimeout(this.#timer);
    this.#onEvent = undefined;
    return Promise.resolve();
  }
}
