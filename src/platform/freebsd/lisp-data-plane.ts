// SPDX-License-Identifier: BSD-2-Clause

/**
 * The LISP data plane in the FreeBSD kernel: lisp(4).
 *
 *   sockets, forwarded packets -> routes -> lisp0 -> lisp.ko -> UDP 4341 of the remote RLOC
 *   UDP 4341 -> lisp.ko -> lisp0 -> local sockets, forwarding
 *
 * The kernel does all of it; this sets mappings and pins through /dev/lisp and is told of misses, gleaned flows and narrower
 * paths. Mappings and pins survive the process in the kernel, so traffic goes on while a daemon restarts: start() adopts an
 * interface it finds and puts its own tables in place of what is there.
 */
import type { NativeLispControl, NativeLispPart } from '../../native/freebsd/lisp.types.js';
import { nativePart } from '../../native/index.js';
import { CoreLispDataPlane, DEFAULT_UNDERLAY_MTU, outerHeaders } from '../core-plane.js';
import {
  PlatformError,
  type LispDataPlane,
  type PlaneEvent,
  type PlaneOptions,
  type PlaneStats,
} from '../platform.js';
import type { LispDevice } from './lisp-device.js';

/** More events than the kernel queues are not read in one go, so that a storm does not keep the loop. */
const READS_AT_ONCE = 32;

export class FreeBsdLispDataPlane extends CoreLispDataPlane {
  readonly kind = 'kernel';
  #control: NativeLispControl | undefined;
  #device: string | undefined;
  #routes: string[] = [];
  #iid = 0;
  #onEvent: ((event: PlaneEvent) => void) | undefined;

  constructor(
    private readonly device: LispDevice,
    private readonly native: () => NativeLispPart = () => nativePart('lisp'),
    /** Opens /dev/lisp with the privilege it takes; absent: it is opened here. */
    private readonly open?: () => Promise<number>,
    /** Sets net.inet.lisp.<name>, which takes root; absent: by this process. */
    private readonly setSwitch?: (name: string, value: number) => Promise<void>,
  ) {
    super();
  }

  protected get tables(): NativeLispControl {
    if (!this.#control) throw new PlatformError('the data plane does not run', 'ENXIO');
    return this.#control;
  }

  async start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }> {
    if (this.#control) throw new PlatformError('the data plane runs already', 'EALREADY');
    this.#device = await this.device.create(options.device);
    try {
      this.#onEvent = onEvent;
      this.#control = new (this.native().Control)(await this.open?.(), () => this.#readEvents());
      // What an earlier daemon left is of its time; pins it gleaned will be gleaned again.
      this.#control.flushMappings();
      this.#control.flushPins();
      return { device: this.#device, mtu: await this.#configure(options) };
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async update(options: PlaneOptions): Promise<void> {
    void this.tables;
    await this.#configure(options);
  }

  async #configure(options: PlaneOptions): Promise<number> {
    const control = this.tables;
    const overhead = outerHeaders(options.localRlocs);
    const mtu = options.mtu ?? DEFAULT_UNDERLAY_MTU - overhead;
    const switches = {
      underlay_mtu: mtu + overhead,
      source_check: options.sourceCheck ? 1 : 0,
      glean: options.glean ? 1 : 0,
    };
    for (const [name, value] of Object.entries(switches))
      await (this.setSwitch?.(name, value) ?? control.setSwitch(name, value));
    control.setRlocs(options.localRlocs);
    if (options.iid !== this.#iid) control.setEids(this.#iid, []);
    control.setIid(options.iid);
    control.setEids(options.iid, options.localEids);
    this.#iid = options.iid;
    await this.device.configure(this.#device!, { mtu, routes: options.routes, previous: this.#routes });
    this.#routes = [...options.routes];
    return mtu;
  }

  #readEvents(): void {
    for (let n = 0; n < READS_AT_ONCE; n++) {
      const events = this.#control?.events() ?? [];
      if (events.length === 0) return;
      for (const event of events) this.#onEvent?.(event);
    }
  }

  /** Without what the kernel knows beyond a mapping: whether a locator is reachable. */
  override listMappings(): ReturnType<LispDataPlane['listMappings']> {
    return this.tables.listMappings().map(({ iid, eid, locators }) => ({
      iid,
      eid,
      locators: locators.map(({ rloc, priority, weight }) => ({ rloc, priority, weight })),
    }));
  }

  stats(): PlaneStats {
    const control = this.tables;
    const { mappings, pins } = control.info();
    const counters = control.stats('stats');
    const drops: Record<string, number> = {};
    for (const [name, value] of Object.entries(counters)) {
      const cause = /^drop\.(.+)$/.exec(name)?.[1];
      if (cause !== undefined && value > 0) drops[cause] = value;
    }
    return {
      encapsulated: counters['encapsulated'] ?? 0,
      decapsulated: counters['decapsulated'] ?? 0,
      drops,
      mappings,
      pins,
      // The kernel holds no packets for a mapping to come.
      queued: 0,
    };
  }

  async stop(): Promise<void> {
    this.#control?.close();
    this.#control = undefined;
    this.#onEvent = undefined;
    const device = this.#device;
    this.#device = undefined;
    this.#routes = [];
    // The routes go with the interface, and packets pass unaccelerated.
    if (device !== undefined) await this.device.destroy(device);
  }
}
