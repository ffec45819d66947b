// SPDX-License-Identifier: BSD-2-Clause

/**
 * The LISP data plane inside the kernel: eBPF programs in front of the user-space plane.
 *
 *   routing -> lisp0 --[eBPF]--> device of the RLOC          what is plain, super-packets whole
 *                `--> TUN queue -> user-space plane -> UDP   what is not: misses, fragments, too big, ICMP, options
 *   device of an RLOC --[eBPF]--> lisp0 -> routing
 *                `--> UDP socket -> user-space plane -> lisp0
 *
 * Both planes are told the same; the user-space one has the last word on everything the programs do not take, so that a
 * packet meets the same rules on either way. Without privilege or support in the kernel all packets take the second way.
 */
import { readFileSync } from 'node:fs';
import { type Mapping, type Path, pathKey } from '../../lisp/mapping.js';
import { addressBytes, addressFamily, canonicalPrefix, prefixContains } from '../../lisp/prefix.js';
import type { NativeBpf, NativeRoute } from '../../native/linux/bpf/bpf.types.js';
import { MAX_LOCATORS, OUTER_HEADERS } from '../core-plane.js';
import {
  type Flow,
  type LispDataPlane,
  type PathCounters,
  type PlaneEvent,
  type PlaneOptions,
  type PlanePin,
  type PlaneStats,
  PlatformError,
} from '../platform.js';
import {
  COUNTERS,
  type CounterName,
  EVENT_RING,
  LAYOUT,
  MAX_PATHS,
  type MapName,
  type MappingRecord,
  decodeEvent,
  decodeFlow,
  decodeGleaned,
  encodeConfig,
  encodeFlow,
  encodeGleaned,
  encodeMapping,
  encodeNumber,
  encodePath,
  encodePathKey,
  encodePrefix,
  latest,
  planShares,
  sumCounters,
} from './kernel-maps.js';
import { loadLispPrograms, OBJECT_FILE, type LispPrograms } from './lisp-programs.js';

/** Flows that were learnt on the slow way reach the kernel's table before their mapping does. */
const SETTLE_MS = 20;
/** Routes towards RLOCs are looked up again this often, so many of them at a time. */
const ROUTE_INTERVAL_MS = 1000;
const ROUTES_AT_ONCE = 256;
/** A learnt path MTU is forgotten after this (RFC 8201 section 4 asks for more than 5 minutes). */
const MTU_LIFETIME_MS = 600_000;
const GLEANED_SWEEP_MS = 60_000;
const GLEANED_IDLE_NS = 300_000_000_000n;

interface KnownPath extends Path {
  number: number;
  up: boolean;
  valid: boolean;
  route?: NativeRoute | undefined;
  /** Largest inner packet, as the underlay said. */
  limit?: { mtu: number; until: number } | undefined;
  /** What the kernel's table has now. */
  written: string;
}

export interface KernelPlaneOptions {
  /** The plane behind this one. */
  behind: LispDataPlane;
  native: NativeBpf;
  objectFile?: string;
  /** Who loads the programs, where this process may not: the guard. */
  load?(): Promise<LispPrograms>;
  /** Attach as kernels before 6.6 ask for it. */
  clsact?: boolean;
  /** true: without eBPF the start fails; false: the plane behind does it all. */
  required: boolean;
  /** Told why packets do not stay in the kernel. */
  warn?(message: string): void;
}

const monotonicNs = (): bigint => process.hrtime.bigint();

/** Processors the kernel keeps a counter for. */
function possibleProcessors(): number {
  const text = readFileSync('/sys/devices/system/cpu/possible', 'latin1').trim();
  return Number(text.split(/[-,]/).at(-1)) + 1;
}

/** Why this kernel does not take the programs for this process; undefined when it does. Leaves nothing behind. */
export function refusal(native: NativeBpf, objectFile = OBJECT_FILE): string | undefined {
  try {
    new FastPath(
      native,
      loadLispPrograms(native, objectFile),
      () => undefined,
      () => undefined,
    ).close();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

export class KernelLispDataPlane implements LispDataPlane {
  readonly #behind: LispDataPlane;
  readonly #options: KernelPlaneOptions;
  #fast: FastPath | undefined;
  /** What was said before the start, and has to be said again to the programs. */
  #before: ((fast: FastPath) => void)[] = [];
  #started = false;

  constructor(options: KernelPlaneOptions) {
    this.#options = options;
    this.#behind = options.behind;
  }

  /** 'kernel', or that of the plane behind where the kernel would not. */
  get kind(): string {
    return this.#fast ? 'kernel' : this.#behind.kind;
  }

  async start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }> {
    const { native, load, objectFile, warn = () => undefined, clsact = false } = this.#options;
    let fast: FastPath | undefined;
    try {
      const loaded = await (load ? load() : loadLispPrograms(native, objectFile));
      fast = new FastPath(native, loaded, onEvent, warn, clsact);
    } catch (error) {
      this.#refused(error);
    }
    let started: { device: string; mtu: number };
    try {
      started = await this.#behind.start(options, (event) => {
        this.#fast?.learn(event);
        onEvent(event);
      });
    } catch (error) {
      fast?.close();
      throw error;
    }
    try {
      fast?.run(started.device, options);
      for (const say of this.#before) if (fast) say(fast);
      this.#fast = fast;
    } catch (error) {
      fast?.close();
      if (this.#options.required) await this.#behind.stop();
      this.#refused(error);
    }
    this.#before = [];
    this.#started = true;
    return started;
  }

  /** Without eBPF the plane behind does it all, unless the kernel's is required. */
  #refused(error: unknown): void {
    if (this.#options.required) throw error;
    const why =
      (error as PlatformError).code === 'EPERM'
        ? ' (takes CAP_BPF and CAP_NET_ADMIN in the initial user namespace)'
        : '';
    this.#options.warn?.(`LISP stays in user space: ${(error as Error).message}${why}`);
  }

  #tell(say: (fast: FastPath) => void): void {
    if (this.#fast) say(this.#fast);
    else if (!this.#started) this.#before.push(say);
  }

  async update(options: PlaneOptions): Promise<void> {
    await this.#behind.update(options);
    this.#fast?.update(options);
  }

  setMapping(mapping: Mapping): void {
    this.#behind.setMapping(mapping);
    this.#tell((fast) => fast.setMapping(mapping));
  }

  deleteMapping(iid: number, eid: string): void {
    this.#tell((fast) => fast.deleteMapping(iid, eid));
    this.#behind.deleteMapping(iid, eid);
  }

  listMappings(): ReturnType<LispDataPlane['listMappings']> {
    return this.#behind.listMappings();
  }

  setPathState(path: Path, up: boolean): void {
    this.#behind.setPathState(path, up);
    this.#tell((fast) => fast.setPathState(path, up));
  }

  pin(flow: Flow, path: Path, iid?: number): void {
    this.#behind.pin(flow, path, iid);
    this.#tell((fast) => fast.pin(flow, path, iid));
  }

  unpin(flow: Flow, iid?: number): void {
    this.#tell((fast) => fast.unpin(flow, iid));
    this.#behind.unpin(flow, iid);
  }

  listPins(): PlanePin[] {
    const pins = this.#behind.listPins();
    if (!this.#fast) return pins;
    const key = (pin: PlanePin): string =>
      `${pin.iid} ${pin.flow.local.address} ${pin.flow.local.port} ${pin.flow.remote.address} ${pin.flow.remote.port}`;
    const known = new Map(pins.map((pin) => [key(pin), pin]));
    // What the plane behind gleaned is told to the fast one, which sees most packets: its word is the newer one.
    for (const pin of this.#fast.gleaned())
      if (known.get(key(pin))?.gleaned !== false) known.set(key(pin), pin);
    return [...known.values()];
  }

  paths(): PathCounters[] {
    const paths = this.#behind.paths();
    if (!this.#fast) return paths;
    const known = new Map(paths.map((path) => [pathKey(path), { ...path }]));
    for (const path of this.#fast.counters()) {
      const same = known.get(pathKey(path));
      if (!same) {
        // Pairs that only might be used are not shown.
        if (path.packetsSent > 0 || path.packetsReceived > 0) known.set(pathKey(path), path);
        continue;
      }
      same.packetsSent += path.packetsSent;
      same.bytesSent += path.bytesSent;
      same.packetsReceived += path.packetsReceived;
      same.bytesReceived += path.bytesReceived;
      if (path.lastReceivedMs !== undefined)
        same.lastReceivedMs = Math.max(same.lastReceivedMs ?? 0, path.lastReceivedMs);
    }
    return [...known.values()];
  }

  stats(): PlaneStats {
    const stats = this.#behind.stats();
    if (!this.#fast) return stats;
    const counters = this.#fast.programCounters();
    const drops = { ...stats.drops };
    if (counters['no-memory'] > 0) drops['no-memory'] = (drops['no-memory'] ?? 0) + counters['no-memory'];
    return {
      ...stats,
      encapsulated: stats.encapsulated + counters.encapsulated,
      decapsulated: stats.decapsulated + counters.decapsulated,
      drops,
    };
  }

  /** What the programs did with packets; undefined where there are none. */
  programCounters(): Record<CounterName, number> | undefined {
    return this.#fast?.programCounters();
  }

  async stop(): Promise<void> {
    // Packets take the slow way first, so that none meets a program without tables.
    this.#fast?.close();
    this.#fast = undefined;
    this.#started = false;
    await this.#behind.stop();
  }
}

/** The programs, their maps and what keeps them true. */
class FastPath {
  readonly #maps = {} as Record<MapName | 'lisp_events', number>;
  readonly #programs: Record<string, number> = {};
  readonly #links = new Map<number, number>();
  #deviceLink: number | undefined;
  readonly #complained = new Set<number>();
  #ringOpen = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #processors = possibleProcessors();
  #swept = performance.now();
  #nextRoute = 0;

  #device = 0;
  readonly #seed = Math.trunc(Math.random() * 0xffffffff);
  #options: PlaneOptions | undefined;
  readonly #mappings = new Map<string, Mapping>();
  /** New mappings that wait for what was gleaned on the slow way, and until when; oldest first. */
  readonly #settling = new Map<string, number>();
  #settleTimer: NodeJS.Timeout | undefined;
  readonly #usedBy = new Map<string, Set<string>>();
  readonly #paths = new Map<string, KnownPath>();
  readonly #byNumber: KnownPath[] = [];
  readonly #remotes = new Map<string, number>();
  #eids = new Map<string, Uint8Array>();

  /** @throws PlatformError when the maps are not those this process knows. */
  constructor(
    private readonly native: NativeBpf,
    { maps, programs }: LispPrograms,
    private readonly onEvent: (event: PlaneEvent) => void,
    private readonly warn: (message: string) => void,
    private readonly clsact = false,
  ) {
    this.#programs = programs;
    for (const [name, { descriptor }] of Object.entries(maps)) this.#maps[name as MapName] = descriptor;
    for (const [name, layout] of Object.entries(LAYOUT)) {
      const map = maps[name];
      if (map?.keySize === layout.key && map.valueSize === layout.value) continue;
      this.close();
      throw new PlatformError(
        `the eBPF programs are of another build than this process (map ${name})`,
        'EPROTO',
      );
    }
  }

  run(device: string, options: PlaneOptions): void {
    const index = this.native.index(device);
    if (index === 0) throw new PlatformError(`the device ${device} is not there`, 'ENODEV');
    this.#device = index;
    this.native.openRing(this.#maps.lisp_events, EVENT_RING, (records) => this.#onRecords(records));
    this.#ringOpen = true;
    this.update(options);
    this.#deviceLink = this.#attach('lisp_encapsulate', index, true);
    this.#timer = setInterval(() => this.#tick(), ROUTE_INTERVAL_MS);
    this.#timer.unref();
  }

  #attach(program: string, device: number, egress: boolean): number {
    return this.native.attach(this.#programs[program]!, device, egress, this.clsact);
  }

  update(options: PlaneOptions): void {
    this.#options = options;
    this.native.update(
      this.#maps.lisp_config,
      encodeNumber(0),
      encodeConfig({
        device: this.#device,
        iid: options.iid,
        seed: this.#seed,
        sourceCheck: options.sourceCheck,
        glean: options.glean,
      }),
    );
    const eids = new Map(options.localEids.map((eid) => [eid, encodePrefix(options.iid, eid)]));
    for (const [eid, key] of this.#eids) if (!eids.has(eid)) this.native.delete(this.#maps.lisp_eids, key);
    for (const key of eids.values()) this.native.update(this.#maps.lisp_eids, key, encodeNumber(1));
    this.#eids = eids;
    for (const path of this.#paths.values()) path.valid = options.localRlocs.includes(path.local);
    for (const mapping of this.#mappings.values()) this.#addPaths(mapping);
    for (const path of this.#byNumber) this.#resolve(path);
    this.#attachInputs();
    for (const key of this.#mappings.keys()) if (!this.#settling.has(key)) this.#write(key);
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#settleTimer);
    this.#settling.clear();
    if (this.#deviceLink !== undefined) this.native.detach(this.#deviceLink);
    this.#deviceLink = undefined;
    for (const link of this.#links.values()) this.native.detach(link);
    this.#links.clear();
    if (this.#ringOpen) this.native.closeRing();
    this.#ringOpen = false;
    for (const descriptor of [...Object.values(this.#programs), ...Object.values(this.#maps)])
      this.native.close(descriptor);
  }

  // -------------------------------------------------------------- mappings

  setMapping(mapping: Mapping): void {
    const key = this.#key(mapping.iid, mapping.eid);
    const known = this.#mappings.has(key);
    if (known) this.#forgetUse(key);
    this.#mappings.set(key, mapping);
    for (const { rloc } of mapping.locators) {
      const users = this.#usedBy.get(rloc) ?? new Set();
      this.#usedBy.set(rloc, users.add(key));
    }
    this.#addPaths(mapping);
    if (this.#settling.has(key)) return;
    if (known) return this.#write(key);
    this.#settling.set(key, performance.now() + SETTLE_MS);
    this.#settleTimer ??= setTimeout(() => this.#settle(), SETTLE_MS).unref();
  }

  #settle(): void {
    this.#settleTimer = undefined;
    const now = performance.now();
    for (const [key, due] of this.#settling) {
      if (due > now) {
        this.#settleTimer = setTimeout(() => this.#settle(), due - now).unref();
        return;
      }
      this.#settling.delete(key);
      this.#write(key);
    }
  }

  deleteMapping(iid: number, eid: string): void {
    const key = this.#key(iid, eid);
    this.#settling.delete(key);
    this.#forgetUse(key);
    if (this.#mappings.delete(key)) this.native.delete(this.#maps.lisp_mappings, encodePrefix(iid, eid));
  }

  #key(iid: number, eid: string): string {
    return `${iid} ${canonicalPrefix(eid)}`;
  }

  #forgetUse(key: string): void {
    for (const { rloc } of this.#mappings.get(key)?.locators ?? []) this.#usedBy.get(rloc)?.delete(key);
  }

  #write(key: string): void {
    const mapping = this.#mappings.get(key);
    if (!mapping) return;
    const locators = mapping.locators.slice(0, MAX_LOCATORS);
    const record: MappingRecord = {
      shares: planShares(locators, this.#options?.localRlocs ?? [], (path) => {
        const known = this.#paths.get(pathKey(path));
        return known !== undefined && known.up && known.valid;
      }).map(({ local, remote, weight }) => ({
        path: this.#paths.get(pathKey({ local, remote }))!.number,
        weight,
      })),
      remotes: locators.map(({ rloc, priority, reachable }) => ({
        number: this.#remoteNumber(rloc),
        usable: priority !== 255 && reachable,
      })),
    };
    this.native.update(
      this.#maps.lisp_mappings,
      encodePrefix(mapping.iid, mapping.eid),
      encodeMapping(record),
    );
  }

  // -------------------------------------------------------------- paths

  #remoteNumber(rloc: string): number {
    let number = this.#remotes.get(rloc);
    if (number === undefined) this.#remotes.set(rloc, (number = this.#remotes.size));
    return number;
  }

  /** Every pair of RLOCs that packets of this mapping can come or go by. */
  #addPaths(mapping: Mapping): void {
    for (const { rloc } of mapping.locators)
      for (const local of this.#options?.localRlocs ?? [])
        if (addressFamily(local) === addressFamily(rloc)) this.#addPath({ local, remote: rloc });
  }

  /** undefined at the bound: user space carries what goes there. */
  #addPath(path: Path): KnownPath | undefined {
    const known = this.#paths.get(pathKey(path));
    if (known) return known;
    if (this.#byNumber.length >= MAX_PATHS) return undefined;
    const added: KnownPath = {
      local: path.local,
      remote: path.remote,
      number: this.#byNumber.length,
      up: true,
      valid: this.#options?.localRlocs.includes(path.local) ?? false,
      written: '',
    };
    this.#byNumber.push(added);
    this.#paths.set(pathKey(path), added);
    this.#resolve(added);
    this.#attachInputs();
    this.native.update(this.#maps.lisp_path_numbers, encodePathKey(path), encodeNumber(added.number));
    return added;
  }

  #resolve(path: KnownPath): void {
    // A path without its RLOC leads nowhere; one into the tunnel itself would never end.
    path.route =
      path.valid && !this.#isInside(path.remote)
        ? this.native.route(addressBytes(path.local), addressBytes(path.remote))
        : undefined;
    this.#writePath(path);
  }

  #isInside(address: string): boolean {
    const { routes = [], localEids = [], localRlocs = [] } = this.#options ?? {};
    return (
      localRlocs.includes(address) ||
      [...routes, ...localEids].some((prefix) => prefixContains(prefix, address))
    );
  }

  #writePath(path: KnownPath): void {
    const { route } = path;
    const usable = route !== undefined && route.ethernet && route.device !== this.#device;
    const mtu = Math.max(0, (route?.mtu ?? 0) - OUTER_HEADERS[addressFamily(path.remote)]);
    const record = encodePath({
      local: path.local,
      remote: path.remote,
      remoteNumber: this.#remoteNumber(path.remote),
      device: usable ? route.device : 0,
      mtu: Math.min(mtu, path.limit?.mtu ?? mtu),
      up: path.up,
      valid: path.valid,
    });
    const text = Buffer.from(record).toString('latin1');
    if (text === path.written) return;
    this.native.update(this.#maps.lisp_paths, encodeNumber(path.number), record);
    path.written = text;
  }

  setPathState(path: Path, up: boolean): void {
    const known = this.#addPath(path);
    if (!known || known.up === up) return;
    known.up = up;
    this.#writePath(known);
    for (const key of this.#usedBy.get(path.remote) ?? []) if (!this.#settling.has(key)) this.#write(key);
  }

  /** Decapsulation runs on every device an RLOC's packets can come in by. */
  #attachInputs(): void {
    const wanted = new Set<number>();
    for (const local of this.#options?.localRlocs ?? []) {
      const owner = this.native.owner(addressBytes(local));
      if (owner?.ethernet) wanted.add(owner.device);
    }
    for (const { route, valid } of this.#byNumber) if (valid && route?.ethernet) wanted.add(route.device);
    wanted.delete(this.#device);
    for (const device of wanted) {
      if (this.#links.has(device)) continue;
      try {
        this.#links.set(device, this.#attach('lisp_decapsulate', device, false));
      } catch (error) {
        // What comes in there reaches the plane behind. The device may be about to go: it is tried again with the next look.
        if (!this.#complained.has(device))
          this.warn(`LISP of device ${device} is taken in by user space: ${(error as Error).message}`);
        this.#complained.add(device);
      }
    }
    for (const [device, link] of this.#links) {
      if (wanted.has(device)) continue;
      this.native.detach(link);
      this.#links.delete(device);
    }
  }

  #tick(): void {
    const now = performance.now();
    for (let count = Math.min(ROUTES_AT_ONCE, this.#byNumber.length); count > 0; count--) {
      const path = this.#byNumber[this.#nextRoute++ % this.#byNumber.length]!;
      if (path.limit && path.limit.until < now) path.limit = undefined;
      this.#resolve(path);
    }
    this.#attachInputs();
    if (now - this.#swept < GLEANED_SWEEP_MS) return;
    this.#swept = now;
    const idle = monotonicNs() - GLEANED_IDLE_NS;
    for (const { key, usedNs } of this.#gleanedEntries())
      if (usedNs < idle) this.native.delete(this.#maps.lisp_gleaned, key);
  }

  // -------------------------------------------------------------- pins

  pin(flow: Flow, path: Path, iid = 0): void {
    const key = encodeFlow(flow, iid);
    // At the bound of paths: a number that no path has, which leaves the flow to the plane behind and its pin.
    const number = this.#addPath(path)?.number ?? MAX_PATHS;
    // It counts before what was gleaned, which goes with it.
    this.native.update(this.#maps.lisp_pins, key, encodeNumber(number));
  }

  unpin(flow: Flow, iid = 0): void {
    const key = encodeFlow(flow, iid);
    this.native.delete(this.#maps.lisp_pins, key);
    this.native.delete(this.#maps.lisp_gleaned, key);
  }

  /** What happened on the slow way holds on the fast one too. */
  learn(event: PlaneEvent): void {
    if (event.type === 'path-mtu') {
      const path = this.#paths.get(pathKey(event.path));
      if (!path) return;
      path.limit = { mtu: event.mtu, until: performance.now() + MTU_LIFETIME_MS };
      this.#writePath(path);
    } else if (event.type === 'gleaned') {
      const path = this.#addPath(event.pin.path);
      const key = encodeFlow(event.pin.flow, event.pin.iid);
      if (path) this.native.update(this.#maps.lisp_gleaned, key, encodeGleaned(path.number, monotonicNs()));
    }
  }

  #onRecords(records: Buffer[]): void {
    for (const record of records) {
      const event = decodeEvent(record);
      const path = event && this.#byNumber[event.path];
      if (path) this.#onTooBig(path, event.mtu);
    }
  }

  /** A forged message must not stop a path: what every path takes stays allowed (RFC 8201 section 4). */
  #onTooBig(path: KnownPath, underlayMtu: number): void {
    const family = addressFamily(path.remote);
    const least = family === 4 ? 576 : 1280;
    const mtu = Math.max(underlayMtu, least) - OUTER_HEADERS[family];
    const now = performance.now();
    if (underlayMtu === 0 || (path.limit && path.limit.until > now && path.limit.mtu <= mtu)) return;
    if (path.route && mtu >= path.route.mtu - OUTER_HEADERS[family]) return;
    path.limit = { mtu, until: now + MTU_LIFETIME_MS };
    this.#writePath(path);
    this.onEvent({ type: 'path-mtu', path: { local: path.local, remote: path.remote }, mtu });
  }

  *#gleanedEntries(): Generator<{ key: Uint8Array; path: number; usedNs: bigint }> {
    const { key: keySize, value: valueSize } = LAYOUT.lisp_gleaned;
    const keys = this.native.keys(this.#maps.lisp_gleaned, keySize, 1 << 16);
    const value = new Uint8Array(valueSize);
    for (let at = 0; at < keys.length; at += keySize) {
      const key = keys.subarray(at, at + keySize);
      if (this.native.lookup(this.#maps.lisp_gleaned, key, value)) yield { key, ...decodeGleaned(value) };
    }
  }

  gleaned(): PlanePin[] {
    const pins: PlanePin[] = [];
    for (const { key, path: number } of this.#gleanedEntries()) {
      const path = this.#byNumber[number];
      const { flow, iid } = decodeFlow(key);
      if (path) pins.push({ flow, iid, path: { local: path.local, remote: path.remote }, gleaned: true });
    }
    return pins;
  }

  // -------------------------------------------------------------- counters

  #read(map: MapName, number: number): Uint8Array {
    const value = new Uint8Array(LAYOUT[map].value * this.#processors);
    this.native.lookup(this.#maps[map], encodeNumber(number), value);
    return value;
  }

  counters(): PathCounters[] {
    return this.#byNumber.map((path) => {
      const octets = this.#read('lisp_path_counters', path.number);
      const [packetsSent, bytesSent, packetsReceived, bytesReceived] = sumCounters(octets, 5).map(Number);
      const last = latest(octets, 5, 4);
      return {
        local: path.local,
        remote: path.remote,
        packetsSent: packetsSent!,
        bytesSent: bytesSent!,
        packetsReceived: packetsReceived!,
        bytesReceived: bytesReceived!,
        ...(last > 0n && { lastReceivedMs: Number(last / 1000n) / 1000 }),
      };
    });
  }

  programCounters(): Record<CounterName, number> {
    return Object.fromEntries(
      COUNTERS.map((name, index) => [name, Number(sumCounters(this.#read('lisp_counters', index), 1)[0])]),
    ) as Record<CounterName, number>;
  }
}
