// SPDX-License-Identifier: BSD-2-Clause

/** A data plane of a few lines for tests of what is above it: pins, then the mapping's first locator; gleans; counts. */
import type { Mapping, Path } from '../../../src/lisp/mapping.js';
import { pathKey } from '../../../src/lisp/mapping.js';
import { prefixContains } from '../../../src/lisp/prefix.js';
import type { PacketPlane, PlaneOutputs } from '../../../src/platform/memory/index.js';
import { decodeSegment } from '../../../src/platform/memory/segment.js';
import type {
  Clock,
  Flow,
  PathCounters,
  PlaneEvent,
  PlaneOptions,
  PlanePin,
  PlaneStats,
} from '../../../src/platform/platform.js';

const key = ({ local, remote }: Flow): string =>
  `${local.address} ${local.port} ${remote.address} ${remote.port}`;

export class SimplePlane implements PacketPlane {
  readonly kind = 'memory';
  readonly pins = new Map<string, PlanePin>();
  /** Path of every SYN that left, in order. */
  readonly syns: Path[] = [];
  /** Packets that left on another path than their flow's first one. */
  strayed = 0;
  private readonly firstPath = new Map<string, string>();
  private readonly mappings = new Map<string, Mapping>();
  private readonly down = new Set<string>();
  private readonly counters = new Map<string, PathCounters>();
  private options: PlaneOptions | undefined;
  private onEvent: (event: PlaneEvent) => void = () => undefined;
  private drops = 0;

  constructor(
    private readonly clock: Clock,
    private readonly out: PlaneOutputs,
  ) {}

  start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }> {
    this.options = options;
    this.onEvent = onEvent;
    return Promise.resolve({ device: options.device, mtu: 1460 });
  }
  update(options: PlaneOptions): Promise<void> {
    this.options = options;
    return Promise.resolve();
  }
  stop(): Promise<void> {
    this.options = undefined;
    return Promise.resolve();
  }
  setMapping(mapping: Mapping): void {
    this.mappings.set(`${mapping.iid} ${mapping.eid}`, mapping);
  }
  deleteMapping(iid: number, eid: string): void {
    this.mappings.delete(`${iid} ${eid}`);
  }
  listMappings(): ReturnType<PacketPlane['listMappings']> {
    return [...this.mappings.values()].map(({ iid, eid, locators }) => ({ iid, eid, locators }));
  }
  setPathState(path: Path, up: boolean): void {
    if (up) this.down.delete(pathKey(path));
    else this.down.add(pathKey(path));
  }
  pin(flow: Flow, path: Path, iid = 0): void {
    this.pins.set(key(flow), { flow, iid, path, gleaned: false });
    // A new pin may be of a flow that reuses the ports of an old one.
    this.firstPath.delete(key(flow));
  }
  unpin(flow: Flow): void {
    this.pins.delete(key(flow));
  }
  listPins(): PlanePin[] {
    return [...this.pins.values()];
  }
  paths(): PathCounters[] {
    return [...this.counters.values()].map((entry) => ({ ...entry }));
  }
  stats(): PlaneStats {
    return {
      encapsulated: 0,
      decapsulated: 0,
      drops: { 'no-mapping': this.drops },
      mappings: this.mappings.size,
      pins: this.pins.size,
      queued: 0,
    };
  }

  input(inner: Uint8Array): void {
    const segment = decodeSegment(inner)!;
    const pin = this.pins.get(key(segment.flow));
    // What was gleaned of a path that is down by now does not count.
    const pinned = pin?.gleaned === true && this.down.has(pathKey(pin.path)) ? undefined : pin?.path;
    const path = pinned ?? this.choose(segment.flow.remote.address);
    if (path === undefined) {
      this.drops++;
      this.onEvent({ type: 'miss', iid: 0, eid: segment.flow.remote.address, reason: 'encapsulate' });
      return;
    }
    if (segment.kind === 'syn') this.syns.push(path);
    const first = this.firstPath.get(key(segment.flow));
    if (first === undefined) this.firstPath.set(key(segment.flow), pathKey(path));
    else if (first !== pathKey(path)) this.strayed++;
    const counter = this.counter(path);
    counter.packetsSent++;
    counter.bytesSent += inner.length;
    this.out.outer({ local: path.local, remote: { address: path.remote, port: 4341 }, data: inner });
  }

  receive({ local, remote, data }: Parameters<PacketPlane['receive']>[0]): void {
    const path = { local, remote: remote.address };
    const counter = this.counter(path);
    counter.packetsReceived++;
    counter.bytesReceived += data.length;
    counter.lastReceivedMs = this.clock.now();
    const segment = decodeSegment(data)!;
    const flow = { local: segment.flow.remote, remote: segment.flow.local };
    const known = this.pins.get(key(flow));
    if (this.options?.glean && (known === undefined || known.gleaned)) {
      this.pins.set(key(flow), { flow, iid: 0, path, gleaned: true });
    }
    this.out.inner(data);
  }

  private choose(eid: string): Path | undefined {
    const mapping = [...this.mappings.values()].find((entry) => prefixContains(entry.eid, eid));
    for (const [index, { rloc }] of (mapping?.locators ?? []).entries()) {
      const local = this.options?.localRlocs[index];
      if (local !== undefined && !this.down.has(pathKey({ local, remote: rloc })))
        return { local, remote: rloc };
    }
    return undefined;
  }

  private counter(path: Path): PathCounters {
    const name = pathKey(path);
    let counter = this.counters.get(name);
    if (counter === undefined) {
      counter = { ...path, packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0 };
      this.counters.set(name, counter);
    }
    return counter;
  }
}
