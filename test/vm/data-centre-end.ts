// SPDX-License-Identifier: BSD-2-Clause

/**
 * What lives in the namespace of the data-centre scenario: the daemon, whose kernel is the guest's, and mptcp-client.ts as its own
 * process. Reads commands on standard input, one a line, and answers each with one line; those not named here are mptcp-client.ts's.
 *
 *   start       the daemon
 *   stop, kill  ends it; as by kill -9
 *   clean       what the guard does when the daemon has died
 *   daemon      its counters
 *   live        its connections: client, protocol of the server's side, octets
 */
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/daemon/config.js';
import { Daemon } from '../../src/daemon/daemon.js';
import { createLog } from '../../src/daemon/log.js';
import { State } from '../../src/daemon/state.js';
import { createFreeBsdPlatform } from '../../src/platform/freebsd/index.js';
import { systemClock } from '../../src/platform/system-clock.js';
import type { AgentSite } from './agent-end.js';
import { AgentLink, remoteNative } from './agent-link.js';
import { MortalClock, noControl } from './in-process.js';

const site = JSON.parse(process.argv[2] ?? '') as AgentSite;

const CONFIG = `roles = ["data-centre"]
state_dir = ${JSON.stringify(join(site.directory, 'state'))}

[api]
socket = ${JSON.stringify(join(site.directory, 'amptcpd.sock'))}

[log]
level = "debug"

[intercept]
interfaces = ["vtnet0"]
ports = ["5001-5099"]
include = ["198.18.2.0/24", "2001:db8:2::/64"]
exclude = ["198.18.2.20/32", "2001:db8:2::20/128"]

[mptcp]
connect_timeout_ms = 2000

[relay]
drain_seconds = 1
`;

const warn = (message: string): void => void process.stderr.write(`${message}\n`);
for (const route of ['198.18.2.0/24 via 203.0.113.1', '2001:db8:2::/64 via 2001:db8:f::1'])
  execFileSync('ip', ['route', 'add', ...route.split(' ')], { stdio: 'pipe' });

// ---------------------------------------------------------------- the clients

const clients = spawn(
  process.execPath,
  [
    join(fileURLToPath(new URL('.', import.meta.url)), 'mptcp-client.js'),
    JSON.stringify({ addresses: ['203.0.113.2'], ports: { mptcp: 5009, tcp: 5010 } }),
  ],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const waiting: ((line: string) => void)[] = [];
clients.on('close', () => waiting.splice(0).forEach((tell) => tell('failed the clients are gone')));
createInterface({ input: clients.stdout }).on('line', (line) => waiting.shift()?.(line));
const ready = await new Promise<string>((resolve) => waiting.push(resolve));

// ---------------------------------------------------------------- the daemon

let link: AgentLink | undefined;
let daemon: Daemon | undefined;
let clock = new MortalClock();

const commands: Record<string, () => Promise<string> | string> = {
  async start() {
    const file = join(site.directory, 'amptcpd.toml');
    writeFileSync(file, CONFIG);
    const { config } = loadConfig(file);
    link = await AgentLink.open('127.0.0.1', site.port);
    const { native, run } = remoteNative(link);
    clock = new MortalClock();
    const platform = createFreeBsdPlatform(
      { relayThreads: 1, warn },
      { native, run, clock, control: noControl },
    );
    daemon = new Daemon(platform, file, config, createLog('fatal'), new State(config.stateDir));
    await daemon.start();
    return 'ok';
  },
  daemon: () => JSON.stringify(daemon?.gateway?.counters),
  live: () =>
    JSON.stringify(
      daemon?.gateway?.list().map(({ flow, link: server, session }) => ({
        client: flow.client,
        protocol: server?.protocol,
        ...session?.counters(),
      })),
    ),
  async clean() {
    link = await AgentLink.open('127.0.0.1', site.port);
    const { native, run } = remoteNative(link);
    await createFreeBsdPlatform({}, { native, run, clock: systemClock, control: noControl }).clean();
    await link.close();
    return 'ok';
  },
  async stop() {
    await daemon?.stop();
    daemon = undefined;
    await link?.close();
    return 'ok';
  },
  async kill() {
    clock.die();
    daemon = undefined;
    await link?.close();
    return 'ok';
  },
};

process.stdout.write(`${ready}\n`);
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = commands[line.trim()];
    const answer = command
      ? Promise.resolve()
          .then(command)
          .catch((error: unknown) => {
            for (const call of link?.trace.slice(-8) ?? []) warn(`call ${call}`);
            return `failed ${(error as Error).message.replaceAll('\n', ' ')}`;
          })
      : new Promise<string>((resolve) => {
          waiting.push(resolve);
          clients.stdin.write(`${line}\n`);
        });
    void answer.then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    clients.stdin.end();
    void (async () => {
      clock.die();
      await link?.close();
    })().finally(() => process.exit(0));
  });
