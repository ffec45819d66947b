// SPDX-License-Identifier: BSD-2-Clause

/**
 * The scenario of `run.ts` where the host allows no namespaces: network, hosts' TCP and MPTCP, and time are simulated.
 * The gateway's stages, both daemons' control planes, the map-server, their configuration files, the C core of the data
 * plane, and the bytes with their hashes are real.
 *
 *   client -> [gateway: intercept .. relay, xTR, C core] ==paths with a rate==> [xTR, C core] -> server
 *                                   map-server beside them
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '../daemon/config.js';
import type { Config } from '../daemon/config.types.js';
import { createLog } from '../daemon/log.js';
import { gatewayOptions } from '../daemon/roles/gateway.js';
import { LispSite } from '../daemon/roles/lisp.js';
import { State } from '../daemon/state.js';
import { Gateway } from '../gateway/gateway.js';
import {
  NativeNetwork,
  SimulatedHost,
  SimulatedNetwork,
  type Stream,
  VirtualClock,
  createMemoryPlatform,
} from '../platform/memory/index.js';
import { MemoryLispDataPlane } from '../platform/memory/lisp-data-plane.js';
import { decodeSegment } from '../platform/memory/segment.js';
import { type DaemonHost, PORTS, configFile } from './configs.js';
import { pseudoRandom } from './hosts/pseudo-random.js';
import { judgeWire } from './judge.js';
import type { WireFlow } from './lab.js';
import { LabError } from './process.js';
import type { Progress } from './progress.js';
import type { DirectionReport, LabReport } from './report.js';
import { type Family, addresses } from './topology.js';

const DELAY_MS = 5;
const QUEUE_BYTES = 16_000_000;
/** No transfer takes this many times what it would at full rate, in simulated time. */
const PATIENCE = 20;
const LISP_HEADER = 8;
const SAMPLE_MS = 500;

type Direction = 'up' | 'down';
type Basics = Pick<LabReport, 'rlocs' | 'rateMbps' | 'ipv6' | 'bytes'>;

export async function runSimulated(basics: Basics, progress: Progress): Promise<LabReport> {
  const directory = mkdtempSync(join(tmpdir(), 'amptcp-simulated-'));
  const world = new World(basics, directory, progress);
  try {
    const direct = { up: await world.direct('up'), down: await world.direct('down') };
    await world.start();
    const failures: string[] = [];
    const up = await world.proxied('up', direct.up, failures);
    const down = await world.proxied('down', direct.down, failures);
    return { simulated: true, ...basics, up, down, failures };
  } finally {
    progress.end();
    await world.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Outcome {
  seconds: number;
  sha256Match: boolean;
}

class World {
  private readonly clock = new VirtualClock();
  private readonly network: SimulatedNetwork;
  private readonly native: NativeNetwork;
  private readonly server: SimulatedHost;
  /** Of the direct transfers; the gateway's clients are its interceptor's. */
  private readonly client: SimulatedHost;
  private readonly family: Family;
  private readonly log = createLog('silent');
  private readonly wire = new Map<string, WireFlow>();
  private readonly stops: (() => Promise<void> | void)[] = [];
  private platform!: ReturnType<typeof createMemoryPlatform>;
  private transfers = 0;
  /** What the server saw of the transfer under way. */
  private served: { sha256?: string } = {};

  constructor(
    private readonly basics: Basics,
    private readonly directory: string,
    private readonly progress: Progress,
  ) {
    this.family = basics.ipv6 ? 6 : 4;
    this.network = new SimulatedNetwork(this.clock, { delayMs: DELAY_MS, queueBytes: QUEUE_BYTES });
    this.native = new NativeNetwork(this.clock, DELAY_MS);
    // Room for what is on its way at the rate, both ways and then some.
    const windowBytes = Math.max(128 * 1024, ((basics.rateMbps || 1000) * 1e6 * 4 * DELAY_MS) / 8 / 1000);
    this.server = new SimulatedHost(this.clock, { windowBytes });
    for (const port of [PORTS.http, PORTS.direct]) {
      this.server.listen(
        { address: addresses.server(this.family), port },
        { mptcp: true, extraSubflows: 8, accept: (stream) => this.serve(stream) },
      );
    }
    this.hostOptions = { windowBytes };
    this.client = new SimulatedHost(this.clock, this.hostOptions);
  }

  private readonly hostOptions: { windowBytes: number };

  private rate(): { rateMbps?: number } {
    return this.basics.rateMbps > 0 ? { rateMbps: this.basics.rateMbps } : {};
  }

  // ---------------------------------------------------------------- server and client

  /** 'GET id\n' is answered with the octets of that name; 'PUT\n' and the octets after it with their hash. */
  private serve(stream: Stream): void {
    let head = '';
    let mode: 'head' | 'put' = 'head';
    const hash = createHash('sha256');
    stream.events = {
      ...stream.events,
      data: (chunk) => {
        let rest = chunk;
        if (mode === 'head') {
          const text = Buffer.from(chunk).toString('latin1');
          const line = text.indexOf('\n');
          head += line < 0 ? text : text.slice(0, line);
          if (line < 0) return;
          rest = chunk.subarray(line + 1);
          mode = 'put';
          if (head.startsWith('GET ')) {
            this.served.sha256 = send(stream, head.slice(4), this.basics.bytes);
          }
        }
        hash.update(rest);
      },
      end: () => {
        if (head.startsWith('GET ')) return;
        stream.write(Buffer.from(hash.digest('hex')));
        stream.end();
      },
    };
    stream.resume();
  }

  /** Both ends' view of one file over an open stream. */
  private async exchange(
    stream: Stream,
    direction: Direction,
    started: number,
    watch: () => void,
  ): Promise<Outcome> {
    const name = `${direction}-${++this.transfers}`;
    const hash = createHash('sha256');
    let answer = '';
    let bytes = 0;
    let over = false;
    let code: string | undefined;
    stream.events = {
      ...stream.events,
      data: (chunk) => {
        bytes += chunk.length;
        if (direction === 'down') hash.update(chunk);
        else answer += Buffer.from(chunk).toString('latin1');
      },
      end: () => (over = true),
      close: (reason) => {
        over = true;
        code = reason;
      },
    };
    stream.resume();
    this.served = {};
    let sent = '';
    if (direction === 'down') {
      stream.write(Buffer.from(`GET ${name}\n`));
      stream.end();
    } else {
      stream.write(Buffer.from('PUT\n'));
      sent = send(stream, name, this.basics.bytes);
    }
    watch();
    const rateMbps = this.basics.rateMbps || 1000;
    const limitMs = 60_000 + (PATIENCE * this.basics.bytes * 8) / rateMbps / 1000;
    await this.clock.until(() => over, limitMs, 'the transfer');
    if (code !== undefined) throw new LabError(`the simulated transfer failed: ${code}`);
    return {
      seconds: (this.clock.now() - started) / 1000,
      sha256Match:
        direction === 'up'
          ? answer === sent
          : bytes === this.basics.bytes && hash.digest('hex') === this.served.sha256,
    };
  }

  /** Samples octets that have left each path, in simulated time. */
  private live(title: string, counters: () => number[]): { begin: () => void; end: () => void } {
    let before = counters();
    const started = this.clock.now();
    let timer: unknown;
    const tick = (): void => {
      timer = this.clock.setTimeout(() => {
        const now = counters();
        const mbps = now.map((value, index) => ((value - before[index]!) * 8) / SAMPLE_MS / 1000);
        this.progress.rates(title, (this.clock.now() - started) / 1000, mbps, this.basics.rateMbps);
        before = now;
        tick();
      }, SAMPLE_MS);
    };
    return {
      begin: tick,
      end: () => {
        this.clock.clearTimeout(timer);
        this.progress.end();
      },
    };
  }

  // ---------------------------------------------------------------- directly

  /** One provider, no LISP: plain TCP between client and server on a link with the provider's rate. */
  async direct(direction: Direction): Promise<Outcome & { wireBytes: number }> {
    const near = addresses.client(this.family);
    const far = addresses.server(this.family);
    this.network.setLink(near, far, this.rate());
    const { client } = this;
    const way =
      (from: string, to: string) =>
      (packet: Uint8Array): void =>
        this.network.send({ from: { address: from, port: 0 }, to: { address: to, port: 0 }, data: packet });
    const detach = [
      this.network.attach(far, 0, ({ data }) => this.server.input(data, way(far, near))),
      this.network.attach(near, 0, ({ data }) => client.input(data, way(near, far))),
    ];
    const counters = (): number =>
      direction === 'up' ? this.network.counters(near, far).bytes : this.network.counters(far, near).bytes;
    const before = counters();
    const view = this.live(`${NAMES[direction]}, direct (simulated)`, () => [counters()]);
    try {
      const started = this.clock.now();
      const remote = { address: far, port: PORTS.direct };
      const connecting = client.connect(
        { local: client.choose({ address: near }, remote), remote },
        way(near, far),
        {
          mptcp: false,
          timeoutMs: 10_000,
        },
      );
      const stream = await this.wait(connecting);
      const outcome = await this.exchange(stream, direction, started, view.begin);
      return { ...outcome, wireBytes: counters() - before };
    } finally {
      view.end();
      for (const end of detach) end();
    }
  }

  /** Lets simulated time pass until a promise settles. */
  private async wait<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = promise.finally(() => (settled = true));
    done.catch(() => undefined);
    await this.clock.until(() => settled, 60_000, 'what was waited for');
    return done;
  }

  // ---------------------------------------------------------------- through the gateway

  private config(host: DaemonHost): Config {
    const text = configFile(host, {
      family: this.family,
      rlocs: this.basics.rlocs,
      directory: this.directory,
      site: 1,
      source: 'nat',
    });
    return parseConfig(text, host).config;
  }

  private state(host: DaemonHost): State {
    const directory = join(this.directory, host, 'state');
    mkdirSync(directory, { recursive: true });
    return new State(directory);
  }

  /** The daemons, in the order in which they need each other; each hears of its registration before the next one starts. */
  async start(): Promise<void> {
    const { family, clock, network, native } = this;
    const list = (site: 0 | 1): string[] =>
      Array.from({ length: this.basics.rlocs }, (_, index) => addresses.rloc(family, site, index + 1));
    for (const local of list(0)) for (const remote of list(1)) network.setLink(local, remote, this.rate());

    const common = { clock, network, native };
    const map = createMemoryPlatform({
      ...common,
      rlocs: [],
      plane: (c, out) => new MemoryLispDataPlane(c, out),
    });
    const mapSite = new LispSite(map, this.config('map'), this.log, this.state('map'));
    await mapSite.start();
    this.stops.push(() => mapSite.stop());

    const dc = createMemoryPlatform({
      ...common,
      rlocs: list(1),
      behind: this.server,
      plane: (c, out) =>
        new MemoryLispDataPlane(c, {
          ...out,
          outer: (packet) => {
            this.watch(packet.local, packet.remote.address, packet.data);
            out.outer(packet);
          },
        }),
    });
    const dcSite = new LispSite(dc, this.config('dc1'), this.log, this.state('dc1'));
    await dcSite.start();
    this.stops.push(() => dcSite.stop());
    await this.registered(mapSite, addresses.serverPrefix(family));

    const gatewayConfig = this.config('gateway');
    this.platform = createMemoryPlatform({
      ...common,
      rlocs: list(0),
      nativePrefixes: [addresses.clientPrefix(family)],
      host: this.hostOptions,
      plane: (c, out) =>
        new MemoryLispDataPlane(c, {
          ...out,
          outer: (packet) => {
            this.watch(packet.local, packet.remote.address, packet.data);
            out.outer(packet);
          },
        }),
    });
    const gatewaySite = new LispSite(this.platform, gatewayConfig, this.log, this.state('gateway'));
    await gatewaySite.start();
    this.stops.push(() => gatewaySite.stop());
    await this.registered(mapSite, addresses.natPrefix(family));
    const gateway = new Gateway(
      { platform: this.platform, mappings: gatewaySite.xtr!, log: this.log },
      gatewayOptions(gatewayConfig),
    );
    await gateway.start();
    this.stops.push(() => this.wait(gateway.stop(0)));
  }

  private async registered(map: LispSite, eid: string): Promise<void> {
    await this.clock.until(
      () => map.mapServer?.registrations().some((entry) => entry.eid === eid) === true,
      60_000,
      `the registration of ${eid}`,
    );
  }

  /** What flowwatch does in the real lab. */
  private watch(from: string, to: string, data: Uint8Array): void {
    const segment = decodeSegment(data.subarray(LISP_HEADER));
    if (segment === undefined) return;
    const { local, remote } = segment.flow;
    const inner: WireFlow['inner'] = [local.address, local.port, remote.address, remote.port];
    const key = [from, to, ...inner].join(' ');
    let flow = this.wire.get(key);
    if (flow === undefined) {
      const gatewaySide = [from, to];
      let provider = 0;
      for (let index = 1; index <= this.basics.rlocs; index++) {
        if (gatewaySide.includes(addresses.rloc(this.family, 0, index))) provider = index;
      }
      flow = { provider, outer: [from, to], inner, packets: 0, bytes: 0, syn: null };
      this.wire.set(key, flow);
    }
    flow.packets += 1;
    flow.bytes += data.length;
    if (segment.kind === 'syn') flow.syn = segment.join ? 'join' : segment.capable ? 'capable' : 'plain';
  }

  private snapshot(): { flows: WireFlow[]; malformed: number } {
    return { flows: [...this.wire.values()].map((flow) => ({ ...flow })), malformed: 0 };
  }

  /** Octets per RLOC of the data centre, as the gateway's plane counts them. */
  private planeBytes(direction: Direction): number[] {
    return Array.from({ length: this.basics.rlocs }, (_, index) => {
      const rloc = addresses.rloc(this.family, 1, index + 1);
      return this.platform.plane
        .paths()
        .filter(({ remote }) => remote === rloc)
        .reduce((sum, path) => sum + (direction === 'up' ? path.bytesSent : path.bytesReceived), 0);
    });
  }

  async proxied(
    direction: Direction,
    direct: Outcome & { wireBytes: number },
    failures: string[],
  ): Promise<DirectionReport> {
    const name = NAMES[direction];
    const wireBefore = this.snapshot();
    const planeBefore = this.planeBytes(direction);
    const view = this.live(`${name}, gateway (simulated)`, () => this.planeBytes(direction));
    let outcome: Outcome;
    try {
      const started = this.clock.now();
      const script = this.platform.interceptor.connect({
        address: addresses.server(this.family),
        port: PORTS.http,
      });
      const stream = await this.wait(script.connected);
      outcome = await this.exchange(stream, direction, started, view.begin);
    } finally {
      view.end();
    }
    const planeAfter = this.planeBytes(direction);
    const judgement = judgeWire(
      { family: this.family, site: 1, rlocs: this.basics.rlocs },
      wireBefore,
      this.snapshot(),
      PORTS.http,
    );
    if (!direct.sha256Match) failures.push(`direct ${name}: what arrived is not what was sent`);
    if (!outcome.sha256Match) failures.push(`${name}: what arrived is not what was sent`);
    failures.push(...judgement.failures.map((text) => `${name}: ${text}`));
    if (judgement.subflows !== this.basics.rlocs) {
      failures.push(`${name}: ${judgement.subflows} subflows on ${this.basics.rlocs} RLOCs`);
    }
    const mbps = (seconds: number): number => (this.basics.bytes * 8) / seconds / 1e6;
    const wireBytes = planeAfter.reduce((sum, value, index) => sum + value - planeBefore[index]!, 0);
    return {
      directMbps: mbps(direct.seconds),
      aggregateMbps: mbps(outcome.seconds),
      ratio: direct.seconds / outcome.seconds,
      paths: planeAfter.map((value, index) => ({
        rloc: addresses.rloc(this.family, 1, index + 1),
        bytes: value - planeBefore[index]!,
      })),
      sha256Match: outcome.sha256Match,
      subflows: judgement.subflows,
      overheadPercent: {
        direct: (direct.wireBytes / this.basics.bytes - 1) * 100,
        aggregate: (wireBytes / this.basics.bytes - 1) * 100,
      },
    };
  }

  async stop(): Promise<void> {
    for (const end of this.stops.splice(0).reverse()) await end();
  }
}

const NAMES = { up: 'upload', down: 'download' };

/** Sends the octets of a name as fast as they are taken, then closes the direction; returns their hash. */
function send(stream: Stream, name: string, size: number): string {
  const digest = createHash('sha256');
  for (const chunk of pseudoRandom(name, size)) digest.update(chunk);
  const source = pseudoRandom(name, size);
  const next = (): void => {
    for (;;) {
      const piece = source.next();
      if (piece.done) {
        stream.end();
        return;
      }
      if (!stream.write(Buffer.from(piece.value))) return;
    }
  };
  stream.events = { ...stream.events, drain: next };
  next();
  return digest.digest('hex');
}
