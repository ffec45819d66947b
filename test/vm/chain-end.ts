// SPDX-License-Identifier: BSD-2-Clause

/**
 * What lives in the namespace of the chain scenario: the server's site (this product's data plane for Linux, an MPTCP server that
 * sends back what it gets) and the daemon, whose kernel is the guest's. Reads commands on standard input, one a line, and answers
 * each with one line.
 *
 *   start [client]       the daemon; in its own name or in its clients'
 *   stop
 *   peers                addresses the server was connected from since it was last asked
 *   counters             of the daemon
 *   connections          the daemon's, with subflows and their octets
 *   paths                of the daemon's data plane
 *   linux                the kernel's MPTCP counters that are not 0, as name=value
 *   drops                of the Linux data plane
 *   capture, captured <filter>, wire   of what is inside LISP's packets, see wire.ts
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { loadConfig } from '../../src/daemon/config.js';
import { Daemon } from '../../src/daemon/daemon.js';
import { createLog } from '../../src/daemon/log.js';
import { State } from '../../src/daemon/state.js';
import { nativePart } from '../../src/native/index.js';
import { createFreeBsdPlatform } from '../../src/platform/freebsd/index.js';
import { selectPlatform } from '../../src/platform/select.js';
import { systemClock } from '../../src/platform/system-clock.js';
import type { AgentSite } from './agent-end.js';
import { AgentLink, remoteNative } from './agent-link.js';
import { accessConfig, noControl } from './in-process.js';
import { mptcpCounters } from './linux-counters.js';
import { Wire } from './wire.js';

const site = JSON.parse(process.argv[2] ?? '') as AgentSite;
const PORT = 5001;

const CONFIG = (source: string): string =>
  accessConfig({
    directory: site.directory,
    mappings: [
      ['198.18.2.0/24', '203.0.121.1', '203.0.122.1'],
      ['198.18.4.0/24', '203.0.121.1'],
      // A server without MPTCP.
      ['198.18.5.0/24', '203.0.121.1', '203.0.122.1'],
    ],
    include: ['198.18.0.0/16'],
    source: source === 'client' ? { clients: ['198.18.1.0/24'] } : { nat: ['192.0.2.8/30'] },
    connectTimeoutMs: 10_000,
  });

/** EIDs of the access side: the gateway's own, its clients'. */
const ACCESS = ['192.0.2.8/30', '198.18.1.0/24'];

// ---------------------------------------------------------------- the server's site

for (const provider of ['111', '112'])
  execFileSync('ip', ['route', 'add', `203.0.${provider}.0/24`, 'via', '203.0.113.1'], { stdio: 'pipe' });
try {
  writeFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'reno');
} catch {
  // As the host has it, then.
}
const warn = (message: string): void => void process.stderr.write(`${message}\n`);
const linux = await selectPlatform({ plane: 'user', warn });
await linux.configure?.({
  rlocs: [{ address: '203.0.121.1' }, { address: '203.0.122.1' }],
  localPrefixes: [],
});
await linux.plane.start(
  {
    device: 'lisp0',
    iid: 0,
    localRlocs: ['203.0.121.1', '203.0.122.1'],
    localEids: ['198.18.2.0/24', '198.18.4.0/24', '198.18.5.0/24'],
    routes: ACCESS,
    mtu: 1444,
    sourceCheck: true,
    glean: true,
  },
  () => undefined,
);
for (const eid of ACCESS)
  linux.plane.setMapping({
    iid: 0,
    eid,
    locators: ['203.0.111.1', '203.0.112.1'].map((rloc) => ({
      rloc,
      priority: 1,
      weight: 50,
      reachable: true,
    })),
    action: 'no-action',
    ttlSeconds: Infinity,
    source: 'static',
  });
const peers = new Set<string>();
for (const [address, mptcp] of [
  ['198.18.2.10', true],
  ['198.18.4.10', true],
  ['198.18.5.10', false],
] as const) {
  const descriptor = nativePart('descriptors').openListener(address, PORT, mptcp, 128);
  createServer({ allowHalfOpen: true }, (socket) => {
    peers.add(socket.remoteAddress ?? '');
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen({ fd: descriptor });
}

// ---------------------------------------------------------------- the daemon

let link: AgentLink | undefined;
let daemon: Daemon | undefined;

const commands: Record<string, (words: string[]) => Promise<string> | string> = {
  async start([source = 'nat']) {
    const file = join(site.directory, 'amptcpd.toml');
    writeFileSync(file, CONFIG(source));
    const { config } = loadConfig(file);
    link = await AgentLink.open('127.0.0.1', site.port);
    const { native, run } = remoteNative(link);
    const said: string[] = [];
    const platform = createFreeBsdPlatform(
      { relayThreads: 1, warn: (message) => said.push(message) },
      { native, run, clock: systemClock, control: noControl },
    );
    daemon = new Daemon(platform, file, config, createLog('fatal'), new State(config.stateDir));
    await daemon.start();
    return `multipath ${platform.connector.multipath} ${said.join('; ')}`;
  },
  counters: () => JSON.stringify(daemon?.gateway?.counters),
  connections: () =>
    JSON.stringify(
      daemon?.gateway?.list().map(({ link: server, subflows }) => ({
        protocol: server?.protocol,
        subflows: server?.subflows().map(({ id, state, bytesSent, bytesReceived, rttMs }) => ({
          ...{ id, state, bytesSent, bytesReceived, rttMs },
          path: subflows.get(id)?.path?.remote,
        })),
      })),
    ),
  paths: () =>
    JSON.stringify(
      daemon?.platform.plane
        .paths()
        .map(({ local, remote, bytesSent, bytesReceived }) => [local, remote, bytesSent, bytesReceived]),
    ),
  linux: () => mptcpCounters() || 'none',
  peers() {
    const seen = [...peers].join(' ');
    peers.clear();
    return seen || 'none';
  },
  drops: () => JSON.stringify(linux.plane.stats().drops),
  async stop() {
    await daemon?.stop();
    daemon = undefined;
    await link?.close();
    return 'ok';
  },
};

const wire = new Wire('lisp0');
process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [verb = '', ...words] = line.trim().split(' ');
    const command = commands[verb];
    void Promise.resolve()
      .then(() => command?.(words) ?? wire.answer(line.trim()) ?? `failed unknown command ${line}`)
      .catch((error: unknown) => {
        for (const call of link?.trace.slice(-8) ?? []) warn(`call ${call}`);
        return `failed ${(error as Error).message.replaceAll('\n', ' ')}`;
      })
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    void (async () => {
      wire.close();
      await link?.close();
      await linux.plane.stop();
    })().finally(() => process.exit(0));
  });
