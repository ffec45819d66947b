// SPDX-License-Identifier: BSD-2-Clause

/**
 * The network of the gateway's tests, in virtual time:
 *
 *   client -- gateway 203.0.113.2, .114.2, .115.2 ==paths== site 1 203.0.123.2, .124.2, .125.2 -- server 198.18.1.10
 *                                                 ==paths== site 2 203.0.133.2, .134.2         -- the same server, moved
 */
import { createHash } from 'node:crypto';
import { Gateway, type GatewayLog, type GatewayOptions } from '../../../src/gateway/gateway.js';
import type { ConnectionRecord } from '../../../src/gateway/account.js';
import { PathWatcher } from '../../../src/gateway/watch.js';
import type { Path } from '../../../src/lisp/mapping.js';
import {
  createMemoryPlatform,
  NativeNetwork,
  SimulatedHost,
  SimulatedNetwork,
  VirtualClock,
  type ListenOptions,
  type MemoryPlatform,
  type ScriptedConnection,
  type SimulatedConnection,
  type Stream,
} from '../../../src/platform/memory/index.js';
import { mappingOf, ScriptedMappings } from './scripted-mappings.js';
import { SimplePlane } from './simple-plane.js';

export const LOCAL = ['203.0.113.2', '203.0.114.2', '203.0.115.2'] as const;
export const SITE1 = ['203.0.123.2', '203.0.124.2', '203.0.125.2'] as const;
export const SITE2 = ['203.0.133.2', '203.0.134.2'] as const;
export const SERVER = { address: '198.18.1.10', port: 80 };
export const EID = '198.18.1.0/24';
export const NAT = '192.0.2.0/28';
export const PATH: Path[] = LOCAL.map((local, index) => ({ local, remote: SITE1[index]! }));
export const MOVED: Path[] = SITE2.map((remote, index) => ({ local: LOCAL[index]!, remote }));

export interface WorldOptions {
  rlocs?: number;
  gateway?: Partial<GatewayOptions>;
  intercept?: Partial<GatewayOptions['intercept']>;
  holdsSyn?: boolean;
  /** The server is reachable without LISP too. */
  native?: boolean;
  /** Without this line the map-cache knows the server from the start. */
  unmapped?: boolean;
}

export interface World {
  clock: VirtualClock;
  network: SimulatedNetwork;
  platform: MemoryPlatform;
  plane: SimplePlane;
  mappings: ScriptedMappings;
  gateway: Gateway;
  server: SimulatedHost;
  /** The site the server is at. */
  site: { plane: SimplePlane };
  move(): void;
  records: ConnectionRecord[];
  log: { level: string; message: string; fields: object }[];
  /** A path falls silent, both ways. */
  cut(path: Path): void;
  restore(path: Path): void;
  connect(destination?: { address: string; port: number }): ScriptedConnection;
  listen(options: Partial<ListenOptions> & { accept: ListenOptions['accept'] }, port?: number): void;
  watch(): PathWatcher;
}

export async function world(options: WorldOptions = {}): Promise<World> {
  const rlocs = options.rlocs ?? 2;
  const clock = new VirtualClock();
  const network = new SimulatedNetwork(clock, { delayMs: 5, queueBytes: 8_000_000 });
  const native = new NativeNetwork(clock);
  const locals = LOCAL.slice(0, rlocs);
  const platform = createMemoryPlatform({
    clock,
    network,
    native,
    rlocs: locals,
    nativePrefixes: ['10.10.0.0/24'],
    holdsSyn: options.holdsSyn,
    plane: (c, out) => new SimplePlane(c, out),
  });
  const planeOptions = { device: 'lisp0', iid: 0, routes: [], sourceCheck: false, glean: true };
  const server = new SimulatedHost(clock);
  const sites = [SITE1.slice(0, rlocs), [...SITE2]].map((addresses) =>
    createMemoryPlatform({
      clock,
      network,
      native,
      rlocs: addresses,
      behind: server,
      plane: (c, out) => new SimplePlane(c, out),
    }),
  );
  for (const [index, site] of sites.entries()) {
    await site.plane.start(
      { ...planeOptions, localRlocs: index === 0 ? SITE1.slice(0, rlocs) : [...SITE2], localEids: [EID] },
      () => undefined,
    );
    site.plane.setMapping(mappingOf(NAT, locals));
  }
  // Only the site that has the server delivers to it.
  let home = 0;
  for (const [index, site] of sites.entries()) {
    const receive = site.plane.receive.bind(site.plane);
    site.plane.receive = (packet) => {
      if (index === home) receive(packet);
    };
  }
  if (options.native !== false) {
    native.attach('198.18.1.10/32', (packet, reply) => server.input(packet, reply));
  }
  await platform.plane.start({ ...planeOptions, localRlocs: locals, localEids: [NAT] }, () => undefined);
  const mappings = new ScriptedMappings();
  mappings.onChange((change) => {
    if (change.type === 'set') platform.plane.setMapping(change.mapping);
    else platform.plane.deleteMapping(change.mapping.iid, change.mapping.eid);
  });
  if (!options.unmapped) mappings.learn(mappingOf(EID, SITE1.slice(0, rlocs)));

  const log: World['log'] = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void =>
      void log.push({ level, message, fields });
  const logger: GatewayLog = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
  const records: ConnectionRecord[] = [];
  const gateway = new Gateway(
    { platform, mappings, log: logger, onRecord: (record) => void records.push(record) },
    {
      iid: 0,
      rlocs: locals.map((address) => ({ address, priority: 1, weight: 50 })),
      connect: { connectTimeoutMs: 10_000, notSentLowat: 262_144 },
      maxSubflows: 4,
      relay: { idleTimeoutSeconds: 7200, halfOpenTimeoutSeconds: 300, keepaliveSeconds: 0 },
      ...options.gateway,
      intercept: {
        role: 'access',
        interfaces: [],
        ports: [{ from: 1, to: 65_535 }],
        include: [],
        exclude: [],
        source: 'nat',
        nat: [NAT],
        holdMs: 1500,
        holdMax: 16,
        ...options.intercept,
      },
    },
  );
  await gateway.start();
  return {
    clock,
    network,
    platform,
    plane: platform.plane as SimplePlane,
    mappings,
    gateway,
    server,
    get site() {
      return { plane: sites[home]!.plane as SimplePlane };
    },
    move: () => (home = 1),
    records,
    log,
    cut: ({ local, remote }) => network.cut(local, remote),
    restore: ({ local, remote }) => network.restore(local, remote),
    connect: (destination = SERVER) => platform.interceptor.connect(destination),
    listen: (listen, port = SERVER.port) =>
      void server.listen({ address: SERVER.address, port }, { mptcp: true, ...listen }),
    watch: () =>
      new PathWatcher(clock, platform.plane, mappings, (error) => {
        throw error;
      }),
  };
}

/** What one end of a connection has seen. */
export interface Seen {
  bytes: number;
  hash(): string;
  ended: boolean;
  closed: boolean;
  code?: string;
}

export function observe(stream: Stream): Seen {
  const digest = createHash('sha256');
  const seen: Seen = { bytes: 0, hash: () => digest.copy().digest('hex'), ended: false, closed: false };
  stream.events = {
    ...stream.events,
    data: (chunk) => {
      seen.bytes += chunk.length;
      digest.update(chunk);
    },
    end: () => (seen.ended = true),
    close: (code) => {
      seen.closed = true;
      seen.code = code;
    },
  };
  stream.resume();
  return seen;
}

/** Sends `bytes` octets that can be told from any others, as fast as they are taken, then closes this direction. */
export function send(stream: Stream, bytes: number, keepOpen = false): string {
  const digest = createHash('sha256');
  const block = Buffer.alloc(64 * 1024);
  const blocks: Buffer[] = [];
  for (let at = 0, n = 0; at < bytes; at += block.length, n++) {
    const piece = Buffer.from(block.subarray(0, Math.min(block.length, bytes - at)));
    for (let i = 0; i + 4 <= piece.length; i += 4) piece.writeUInt32BE((n * 16_384 + i / 4) >>> 0, i);
    digest.update(piece);
    blocks.push(piece);
  }
  const next = (): void => {
    for (let piece = blocks.shift(); piece !== undefined; piece = blocks.shift()) {
      if (!stream.write(piece)) return;
    }
    if (!keepOpen) stream.end();
  };
  stream.events = { ...stream.events, drain: next };
  next();
  return digest.digest('hex');
}

/** Answers with as many octets as `download`, and takes what it is sent. */
export function serve(download: number): {
  accept(connection: SimulatedConnection): void;
  seen: Seen[];
  hash: string[];
  streams: SimulatedConnection[];
} {
  const served = { seen: [] as Seen[], hash: [] as string[], streams: [] as SimulatedConnection[] };
  return {
    ...served,
    accept: (connection) => {
      served.streams.push(connection);
      served.seen.push(observe(connection));
      if (download > 0) served.hash.push(send(connection, download));
    },
  };
}
