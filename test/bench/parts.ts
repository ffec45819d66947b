// SPDX-License-Identifier: BSD-2-Clause

/**
 * What there is to measure besides rates. All of it through the whole gateway (full: TCP to MPTCP, two RLOCs) with the data
 * plane this host can have, by test/bench/load.c at both ends.
 *
 *   latency      time to first octet through the gateway and directly, by turns, one at a time; after a second's warm-up of both,
 *                as a daemon that has been at work runs compiled code
 *   connections  new connections a second, each one octet there and back; directly as well
 *   idle         memory of idle connections: the daemon's and the kernel's, less that of the same connections direct
 *   lookups      map-cache lookups a second (test/bench/lookup.c)
 *   failover     a provider is cut under a download: seconds until it has its rate again
 *   goodput      two shaped providers: what arrives of their sum less header octets
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PORTS } from '../../src/lab/configs.js';
import { Lab } from '../../src/lab/lab.js';
import { finished, run, waitFor } from '../../src/lab/process.js';
import { addresses } from '../../src/lab/topology.js';
import { median, round } from './statistics.js';

export const PARTS = ['latency', 'connections', 'idle', 'lookups', 'failover', 'goodput'] as const;
export type PartName = (typeof PARTS)[number];

export interface Latency {
  direct: number;
  gateway: number;
  added: number;
}

export interface ConnectionRate {
  perSecond: number;
  seconds: number;
  failed: number;
  /** The least in a whole second: ports that run out show here. */
  slowestSecond: number;
  directPerSecond: number;
  /** Of the gateway's daemon, for each connection. */
  daemonCpuMs: number;
}

export interface Idle {
  wanted: number;
  connections: number;
  kiBPerConnection: number;
  daemonKiB: number;
  slabKiB: number;
  directSlabKiB: number;
  descriptorsPerConnection: number;
  /** Why fewer than wanted. */
  limit?: string;
}

export type Lookups = Record<
  string,
  {
    /** The best round's. */
    lookupsPerSecond: number;
    lookupNs: number;
    decideNs: number;
    medianNs: number;
    /** One access to memory that no cache holds, at that time on that machine. */
    tripNs: number;
    memoryKiB: number;
  }
>;

export interface Failover {
  /** Median, and each of the cuts. */
  seconds: number;
  each: number[];
}

export interface Goodput {
  /** Mbit/s, medians. */
  up: number;
  down: number;
  each: { up: number[]; down: number[] };
  /** Links' sum less header octets, Mbit/s. */
  limit: number;
  ratio: { up: number; down: number };
}

export interface PartResults {
  plane?: string;
  latency?: Latency;
  connections?: ConnectionRate;
  idle?: Idle[];
  lookups?: Lookups;
  failover?: Failover;
  goodput?: Goodput;
}

export interface PartOptions {
  parts: readonly PartName[];
  /** How long new connections are made; 60 s is what the requirement says. */
  connectionSeconds: number;
  idle: readonly number[];
  latencyRounds?: number;
  cuts?: number;
  onStep(text: string): void;
}

const FAMILY = 4;
/** The server with MPTCP behind an intercepted port, and behind one that is not. */
const THROUGH = PORTS.tests.from;
const DIRECT = PORTS.direct;
const SERVER = addresses.server(FAMILY);
/** At a time; enough to keep two processors busy, few enough not to measure queues. */
const PARALLEL = 32;
/** A client has 64,000 ports, and a port rests for 60 s: many clients. */
const CLIENTS = Array.from({ length: 40 }, (_, index) => `10.10.0.${100 + index}`);
const source = (name: string): string =>
  fileURLToPath(new URL(`../../../test/bench/${name}`, import.meta.url));

/** Runs the parts asked for; one that fails is told, the others are measured. */
export async function measureParts(
  options: PartOptions,
  notAvailable: Record<string, string>,
): Promise<PartResults> {
  const results: PartResults = {};
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-bench-'));
  const wanted = (name: PartName): boolean => options.parts.includes(name);
  const attempt = async <T>(name: PartName, work: () => Promise<T>): Promise<T | undefined> => {
    if (!wanted(name)) return undefined;
    options.onStep(`measuring ${name}`);
    try {
      return await work();
    } catch (error) {
      const text = (error as Error).message.trim();
      notAvailable[name] = text.split('\n').at(-1)!.slice(0, 200);
      options.onStep(`${name} is not available: ${text}`);
      return undefined;
    }
  };
  try {
    const lookups = await attempt('lookups', () => measureLookups(folder));
    if (lookups) results.lookups = lookups;
    if (!options.parts.some((part) => part !== 'lookups')) return results;
    const load = join(folder, 'load');
    await run('cc', ['-O2', '-o', load, source('load.c')]);
    if (['latency', 'connections', 'idle'].some((part) => wanted(part as PartName))) {
      options.onStep('setting up the whole gateway');
      await withGateway(load, 0, async (lab) => {
        results.plane = (await lab.api('gateway', 'status')).plane?.kind ?? '?';
        const latency = await attempt('latency', () =>
          measureLatency(lab, load, options.latencyRounds ?? 100),
        );
        if (latency) results.latency = latency;
        const idle = await attempt('idle', () => measureIdle(lab, load, options));
        if (idle) results.idle = idle;
        const connections = await attempt('connections', () =>
          measureConnections(lab, load, options.connectionSeconds),
        );
        if (connections) results.connections = connections;
      });
    }
    const failover = await attempt('failover', () =>
      measureFailover(load, options.cuts ?? 3, options.onStep),
    );
    if (failover) results.failover = failover;
    const goodput = await attempt('goodput', () => measureGoodput(load));
    if (goodput) results.goodput = goodput;
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A lab with everything in it, as a user would run it. */
async function withGateway(load: string, rateMbps: number, work: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = await Lab.create({
    rlocs: 2,
    rateMbps,
    family: FAMILY,
    logLevel: 'info',
    name: `bench-parts-${rateMbps}-${process.pid}`,
  });
  try {
    await lab.startDaemons();
    await lab.shell(
      'client',
      [
        'echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range',
        ...CLIENTS.map((address) => `ip addr add ${address}/24 dev eth0`),
      ].join('\n'),
    );
    for (const port of [THROUGH, DIRECT]) {
      lab.spawn('server', `load-${port}`, [load, 'serve', String(port), 'mptcp']);
      await lab.listening('server', port);
    }
    await work(lab);
  } finally {
    await lab.close();
  }
}

// ---------------------------------------------------------------- latency

const WARM_UP_SECONDS = 1;

export async function measureLatency(lab: Lab, load: string, rounds: number): Promise<Latency> {
  for (const port of [DIRECT, THROUGH]) await rate(lab, load, port, WARM_UP_SECONDS);
  await inactive(lab);
  const { stdout } = await lab.run(
    'client',
    [load, 'first', SERVER, `${DIRECT},${THROUGH}`, String(rounds)],
    {
      timeoutMs: 30_000 + rounds * 100,
    },
  );
  const times = JSON.parse(stdout) as Record<string, number[]>;
  const direct = median(times[DIRECT]!) / 1000;
  const gateway = median(times[THROUGH]!) / 1000;
  return { direct: round(direct, 3), gateway: round(gateway, 3), added: round(gateway - direct, 3) };
}

const inactive = (lab: Lab): Promise<unknown> =>
  waitFor(
    'the gateway to be idle again',
    async () => (await lab.api('gateway', 'status', { timeoutMs: 10_000 })).connections.active === 0,
    60_000,
    250,
  );

// ---------------------------------------------------------------- new connections

interface Opened {
  connections: number;
  failed: number;
  seconds: number;
  slowestSecond: number;
  error: string;
}

async function rate(lab: Lab, load: string, port: number, seconds: number): Promise<Opened> {
  const { stdout, stderr } = await lab.run(
    'client',
    [load, 'rate', SERVER, String(port), String(seconds), String(PARALLEL), ...CLIENTS],
    { timeoutMs: (seconds + 60) * 1000, tolerant: true },
  );
  if (stdout === '') throw new Error(`load: ${stderr}`);
  return JSON.parse(stdout) as Opened;
}

export async function measureConnections(lab: Lab, load: string, seconds: number): Promise<ConnectionRate> {
  const direct = await rate(lab, load, DIRECT, Math.min(5, seconds));
  const before = await processorSeconds(lab);
  const opened = await rate(lab, load, THROUGH, seconds);
  const used = (await processorSeconds(lab)) - before;
  if (opened.connections === 0) throw new Error(`no connection came through: ${opened.error}`);
  return {
    perSecond: Math.round(opened.connections / opened.seconds),
    seconds: round(opened.seconds, 1),
    failed: opened.failed,
    slowestSecond: opened.slowestSecond,
    directPerSecond: Math.round(direct.connections / direct.seconds),
    daemonCpuMs: round((used * 1000) / opened.connections, 3),
  };
}

/** User and system time of the gateway's daemon so far. */
async function processorSeconds(lab: Lab): Promise<number> {
  const { stdout } = await lab.run('gateway', ['cat', `/proc/${lab.pid('gateway', 'amptcpd')}/stat`]);
  const fields = stdout.slice(stdout.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// ---------------------------------------------------------------- idle connections

interface Memory {
  daemonKiB: number;
  slabKiB: number;
  descriptors: number;
}

async function memory(lab: Lab): Promise<Memory> {
  const pid = lab.pid('gateway', 'amptcpd');
  const { stdout } = await lab.run('gateway', [
    'sh',
    '-c',
    `grep VmRSS /proc/${pid}/status; ls /proc/${pid}/fd | wc -l`,
  ]);
  const [rss = '', descriptors = ''] = stdout.trim().split('\n');
  return {
    daemonKiB: Number(rss.replace(/\D/g, '')),
    slabKiB: Number(/^Slab:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))![1]),
    descriptors: Number(descriptors),
  };
}

/** Memory now: when it has stopped changing. What is freed late would count for what comes next. */
async function settledMemory(lab: Lab): Promise<Memory> {
  let last = await memory(lab);
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = await memory(lab);
    const still =
      Math.abs(now.slabKiB - last.slabKiB) < 256 && Math.abs(now.daemonKiB - last.daemonKiB) < 256;
    last = now;
    if (still) break;
  }
  return last;
}

async function holdIdle(
  lab: Lab,
  load: string,
  port: number,
  count: number,
): Promise<{ opened: Opened; grown: Memory }> {
  const before = await settledMemory(lab);
  const child = lab.spawn('client', `idle-${port}-${count}`, [load, 'idle', SERVER, String(port), String(count), String(PARALLEL), ...CLIENTS], { piped: true }); // prettier-ignore
  const ended = finished(child);
  try {
    let printed = '';
    child.stdout!.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    await waitFor(`${count} idle connections`, () => printed.includes('\n'), 120_000, 100);
    // Further subflows come a little later than the first.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const after = await settledMemory(lab);
    return {
      opened: JSON.parse(printed) as Opened,
      grown: {
        daemonKiB: after.daemonKiB - before.daemonKiB,
        slabKiB: after.slabKiB - before.slabKiB,
        descriptors: after.descriptors - before.descriptors,
      },
    };
  } finally {
    child.stdin!.end();
    await ended.catch(() => undefined);
    await inactive(lab);
  }
}

export async function measureIdle(
  lab: Lab,
  load: string,
  options: Pick<PartOptions, 'idle' | 'onStep'>,
): Promise<Idle[]> {
  const { stdout } = await lab.run('gateway', [
    'sh',
    '-c',
    `grep 'open files' /proc/${lab.pid('gateway', 'amptcpd')}/limits | tr -s ' ' | cut -d ' ' -f 4`,
  ]);
  const limit = Number(stdout);
  const found: Idle[] = [];
  for (const wanted of options.idle) {
    // Two sockets a connection at the gateway, and some for everything else.
    const count = Math.min(wanted, Math.floor((limit - 500) / 2));
    const direct = await holdIdle(lab, load, DIRECT, count);
    const through = await holdIdle(lab, load, THROUGH, count);
    for (const { opened } of [direct, through])
      if (opened.failed > 0) throw new Error(`${opened.failed} of ${count} did not open: ${opened.error}`);
    found.push({
      wanted,
      connections: count,
      kiBPerConnection: round(
        (through.grown.daemonKiB + through.grown.slabKiB - direct.grown.slabKiB) / count,
        1,
      ),
      daemonKiB: round(through.grown.daemonKiB / count, 1),
      slabKiB: round(through.grown.slabKiB / count, 1),
      directSlabKiB: round(direct.grown.slabKiB / count, 1),
      descriptorsPerConnection: round(through.grown.descriptors / count, 2),
      ...(count < wanted && { limit: `this host grants ${limit} descriptors a process` }),
    });
  }
  return found;
}

// ---------------------------------------------------------------- lookups

export async function measureLookups(folder: string): Promise<Lookups> {
  const { stdout } = await run('make', ['-s', '-C', source('.'), 'lookup', `OUT=${join(folder, 'lookup')}`], {
    timeoutMs: 120_000,
  });
  return JSON.parse(stdout) as Lookups;
}

// ---------------------------------------------------------------- failover

const CUT_RATE = 50;
/** A rate is what comes in such a window. */
const WINDOW_MS = 300;
const GRAIN_MS = 20;

/** Octets by time, as `load receive` tells them. */
type Arrived = { at: number; total: number }[];

/**
 * Seconds from the cut until a window of time begins in which the remaining provider's rate is reached: what is left of the
 * connection has recovered then.
 */
export function recovery(arrived: Arrived, cutAt: number, wantedMbps: number): number | undefined {
  const needed = (wantedMbps * 1e6 * WINDOW_MS) / 8000;
  let end = 0;
  for (const { at, total } of arrived) {
    // What was on its way when the line was cut does not count.
    if (at < cutAt + GRAIN_MS) continue;
    while (end < arrived.length && arrived[end]!.at < at + WINDOW_MS) end++;
    if (end === arrived.length) return undefined;
    if (arrived[end]!.total - total >= needed) return (at - cutAt) / 1000;
  }
  return undefined;
}

async function measureFailover(
  load: string,
  cuts: number,
  onStep: (text: string) => void,
): Promise<Failover> {
  const each: number[] = [];
  await withGateway(load, CUT_RATE, async (lab) => {
    for (let cut = 0; cut < cuts; cut++) {
      const index = (cut % 2) + 1;
      const child = lab.spawn('client', `receive-${cut}`, [load, 'receive', SERVER, String(THROUGH), '9', String(GRAIN_MS)], { piped: true }); // prettier-ignore
      const arrived: Arrived = [];
      let rest = '';
      child.stdout!.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const [at = 0, total = 0] = line.split(' ').map(Number);
          arrived.push({ at, total });
        }
      });
      const ended = finished(child);
      ended.catch(() => undefined);
      // Both providers are in use: more than one could carry.
      await waitFor(
        'both providers to be in use',
        () => {
          const last = arrived.at(-1);
          const before = last && arrived.findLast(({ at }) => at <= last.at - 1000);
          return before && ((last.total - before.total) * 8) / 1e6 > CUT_RATE * 1.4;
        },
        8000,
        50,
      );
      const cutAt = Date.now();
      await lab.cut(index);
      try {
        await ended;
      } finally {
        await lab.restore(index);
      }
      // Of the provider's rate, a tenth is headers and what TCP sends twice.
      const seconds = recovery(arrived, cutAt, CUT_RATE * 0.85);
      if (seconds === undefined)
        throw new Error(
          `no recovery from the cut of provider ${index} within ${((arrived.at(-1)!.at - cutAt) / 1000).toFixed(1)} s`,
        );
      onStep(`provider ${index} cut: recovered after ${seconds.toFixed(2)} s`);
      each.push(round(seconds, 2));
      await waitFor(
        'both paths to be up again',
        async () => {
          const { paths } = await lab.api('gateway', 'pathList');
          return paths.filter(({ state }) => state === 'up').length >= 2;
        },
        15_000,
        100,
      );
    }
  });
  return { seconds: round(median(each), 2), each };
}

// ---------------------------------------------------------------- goodput

const GOODPUT_RATE = 500;
const MTU = 1500;
/**
 * Outer IPv4, UDP, LISP; inner IPv4; TCP with timestamps and MPTCP's DSS: its 4 octets, a 4-octet ack, 8 of sequence number, 6 of
 * mapping, padded. (A server's has an 8-octet ack and so 4 more: what it sends can reach 99.7 % of this.)
 */
const HEADERS = { outer: 20 + 8 + 8, ip: 20, tcp: 20 + 12 + 24, ethernet: 14 };
/** Each direction, by turns. A processor that others take for a while makes one run worse, not the link. */
const GOODPUT_RUNS = 3;
const GOODPUT_SECONDS = 6;

/** Mbit/s of payload two providers can carry. */
export function goodputLimit(rateMbps: number, providers: number): number {
  const payload = MTU - HEADERS.outer - HEADERS.ip - HEADERS.tcp;
  return rateMbps * providers * (payload / (MTU + HEADERS.ethernet));
}

async function measureGoodput(load: string): Promise<Goodput> {
  const each: Goodput['each'] = { up: [], down: [] };
  await withGateway(load, GOODPUT_RATE, async (lab) => {
    await lab.startIperf();
    // The first seconds, in which TCP finds the rate, are not what is asked for.
    const options = ['-O', '2', '-C', 'cubic'];
    for (let run = 0; run < GOODPUT_RUNS; run++)
      for (const direction of ['up', 'down'] as const)
        each[direction].push(round(await lab.iperf(direction, GOODPUT_SECONDS, options), 1));
  });
  const limit = goodputLimit(GOODPUT_RATE, 2);
  const up = median(each.up);
  const down = median(each.down);
  return {
    up,
    down,
    each,
    limit: round(limit, 1),
    ratio: { up: round(up / limit, 3), down: round(down / limit, 3) },
  };
}
