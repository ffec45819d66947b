// SPDX-License-Identifier: BSD-2-Clause

/**
 * The LISP data plane in user space: the C core of kmod/core in two native threads, one for each direction.
 *
 *   sockets, forwarded packets -> routes, fwmark rule -> lisp0 (TUN) -> encap thread -> UDP 4341 of the remote RLOC
 *   UDP 4341 of a local RLOC -> decap thread -> lisp0 -> local sockets, forwarding
 *
 * JavaScript sees no packets: it sets mappings and pins and is told of misses, gleaned flows and narrower paths.
 */
import type { NativePlane, NativePlanePart } from '../../native/common/plane.types.js';
import { nativePart } from '../../native/index.js';
import { CoreLispDataPlane, DEFAULT_UNDERLAY_MTU, outerHeaders } from '../core-plane.js';
import { PlatformError, type PlaneEvent, type PlaneOptions, type PlaneStats } from '../platform.js';
import type { HostNetwork } from './host-network.js';

/** IPv6 works on no link with less (RFC 8200 section 5). */
const LEAST_MTU = 1280;

export class LinuxLispDataPlane extends CoreLispDataPlane {
  readonly kind = 'user';
  #created: NativePlane | undefined;
  #device: string | undefined;
  #onEvent: ((event: PlaneEvent) => void) | undefined;

  constructor(
    private readonly host: Pick<HostNetwork, 'openTun' | 'setDevice'>,
    private readonly native: () => NativePlanePart = () => nativePart('plane'),
  ) {
    super();
  }

  /** Made when first needed: mappings may be set before the device is there. */
  protected get tables(): NativePlane {
    this.#created ??= new (this.native().Plane)(0, () => {
      for (const event of this.#created?.events() ?? []) this.#onEvent?.(event);
    });
    return this.#created;
  }

  async start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }> {
    if (this.#device !== undefined) throw new PlatformError('the data plane runs already', 'EALREADY');
    const plane = this.tables;
    const { device, descriptors } = await this.host.openTun({
      device: options.device,
      queues: 1,
      vnetHeader: true,
    });
    try {
      this.#onEvent = onEvent;
      plane.startDevice(descriptors[0]!);
      this.#device = device;
      return { device, mtu: await this.#configure(options) };
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async update(options: PlaneOptions): Promise<void> {
    if (this.#device === undefined) throw new PlatformError('the data plane does not run', 'EINVAL');
    await this.#configure(options);
  }

  async #configure(options: PlaneOptions): Promise<number> {
    const underlayMtu = Math.min(
      ...options.localRlocs.map((rloc) => this.native().interfaceMtu(rloc) || DEFAULT_UNDERLAY_MTU),
      65_535,
    );
    const mtu = options.mtu ?? Math.max(underlayMtu - outerHeaders(options.localRlocs), LEAST_MTU);
    this.tables.setSite({
      iid: options.iid,
      rlocs: options.localRlocs,
      eids: options.localEids,
      routes: options.routes,
      sourceCheck: options.sourceCheck,
      glean: options.glean,
      underlayMtu,
    });
    await this.host.setDevice(this.#device!, { mtu, routes: options.routes, markedTraffic: true });
    return mtu;
  }

  stats(): PlaneStats {
    return this.tables.stats();
  }

  stop(): Promise<void> {
    // The device goes with its descriptor, and the routes with the device.
    this.#created?.stop();
    this.#created = undefined;
    this.#device = undefined;
    this.#onEvent = undefined;
    return Promise.resolve();
  }
}
