// SPDX-License-Identifier: BSD-2-Clause

/**
 * What lives in the namespace of the site scenario (site.ts has the picture): both daemons as they are installed, each a process
 * of its own, and the hosts at both ends. Reads commands on standard input, one a line, and answers each with one line.
 *
 *   gateway [patient]                starts the Linux gateway
 *   start [ROLE] | stop | kill       the xTR's daemon; as data-centre it is an xTR, too
 *   registrations                    what the map-server knows: EID=RLOC,RLOC ...
 *   mappings                         of the xTR: EID=RLOC,RLOC ...
 *   subflows                         of the gateway's connections: source port local RLOC>remote RLOC ...
 *   paths xtr|gateway                local>remote state sent received, ...
 *   warnings                         of the xTR's log
 *   echo ADDRESS PORT OCTETS         the client's transfer
 *   begin ADDRESS PORT OCTETS | finish     the same, something else in between
 *   server                           the MPTCP counters of the server's kernel
 *   linux                            of the gateway's kernel
 *   connections                      of the xTR as data-centre: client, protocol to the server, state, octets up and down
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync, openSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type {
  ConnectionList,
  MappingList,
  PathList,
  RegistrationList,
  Status,
} from '../../src/daemon/api/schema.js';
import type { AgentSite } from './agent-end.js';
import { mptcpCounters } from './linux-counters.js';

const site = JSON.parse(process.argv[2] ?? '') as AgentSite;
const here = fileURLToPath(new URL('.', import.meta.url));
const program = fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url));

const table = (name: string, ...lines: string[]): string => `\n${name}\n${lines.join('\n')}\n`;
const KEY = ['key_id = 1', 'key = "three may keep a secret"', 'algorithm = "hmac-sha-256-128-hkdf"'];
const ACCESS = ['192.0.2.8/30', '2001:db8:9::8/126'];
const CLOUD = ['198.18.2.0/24', '2001:db8:2::/64'];
const quoted = (words: string[]): string => words.map((word) => JSON.stringify(word)).join(', ');

/** Emulation is slow; what is lost is found all the same, and where nothing is lost that only probes would tell of, they wait longer. */
const QUICK = ['interval_ms = 2000', 'timeout_ms = 1500', 'failures = 3'];
const PATIENT = ['interval_ms = 5000', 'timeout_ms = 20000', 'failures = 5'];

const common = (
  name: string,
  roles: string[],
  rlocs: string[],
  eids: string[],
  probe: string[] = QUICK,
): string =>
  `roles = [${quoted(roles)}]\nstate_dir = "${site.directory}/${name}"\n` +
  table('[api]', `socket = "${site.directory}/${name}.sock"`) +
  table('[log]', 'level = "debug"') +
  rlocs
    .map((address) => table('[[rloc]]', `address = "${address}"`, 'priority = 1', 'weight = 50'))
    .join('') +
  table('[[lisp.map_server]]', 'address = "203.0.113.53"', ...KEY) +
  eids.map((eid) => table('[[lisp.database]]', `eid = "${eid}"`, 'ttl_seconds = 900')).join('') +
  table('[lisp.probe]', ...probe);

const gatewayConfig = (probe: string[]): string =>
  common('gateway', ['access', 'map-server'], ['203.0.111.1', '203.0.112.1'], ACCESS, probe) +
  table('[lisp]', 'map_resolvers = ["203.0.113.53"]', 'plane = "user"') +
  table('[intercept]', 'interfaces = ["client"]', 'ports = ["5001-5099"]', `nat = [${quoted(ACCESS)}]`) +
  table('[mptcp]', 'connect_timeout_ms = 10000', 'congestion_control = "reno"') +
  table('[relay]', 'drain_seconds = 1') +
  table('[map_server]', 'addresses = ["203.0.113.53"]') +
  [
    ['access', ACCESS],
    ['cloud', CLOUD],
  ]
    .map(([name, eids]) =>
      table(
        '[[map_server.site]]',
        `name = "${name as string}"`,
        ...KEY,
        `eids = [${(eids as string[]).map((eid) => `{ prefix = "${eid}", iid = 0, accept_more_specifics = true }`).join(', ')}]`,
      ),
    )
    .join('');

const siteConfig = (role: string): string =>
  common('xtr', [role], ['203.0.111.2', '203.0.112.2'], CLOUD, role === 'xtr' ? QUICK : PATIENT) +
  table('[lisp]', 'map_resolvers = ["203.0.113.53"]', `routes = [${quoted(ACCESS)}]`) +
  (role === 'xtr'
    ? ''
    : table(
        '[intercept]',
        'interfaces = ["lisp0"]',
        'ports = ["5001-5099"]',
        `include = [${quoted(CLOUD)}]`,
      ) +
      table('[mptcp]', 'connect_timeout_ms = 2000') +
      table('[relay]', 'drain_seconds = 1'));

// ---------------------------------------------------------------- the network

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: 'pipe' });
};
const sysctl = (name: string, value: string): void => writeFileSync(`/proc/sys/net/${name}`, value);

class Host {
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly ready: Promise<string>;

  constructor() {
    this.#child = spawn('unshare', ['-n', process.execPath, join(here, 'site-host.js')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.ready = new Promise((resolve) => this.#waiting.push(resolve));
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#waiting.shift()?.(line));
    this.#child.on('close', () => this.#waiting.splice(0).forEach((tell) => tell('failed the host is gone')));
  }
  get pid(): string {
    return String(this.#child.pid);
  }
  ask(line: string): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin!.write(`${line}\n`);
    });
  }
  end(): void {
    this.#child.stdin!.end();
  }
}

for (const name of ['default', 'all']) {
  sysctl(`ipv4/conf/${name}/rp_filter`, '0');
  sysctl(`ipv6/conf/${name}/accept_dad`, '0');
}
sysctl('ipv4/ip_forward', '1');
sysctl('ipv6/conf/all/forwarding', '1');
const client = new Host();
const server = new Host();
await client.ready;
await server.ready;
ip('link', 'add', 'client', 'type', 'veth', 'peer', 'name', 'lan', 'netns', client.pid);
ip('addr', 'add', '198.18.1.1/24', 'dev', 'client');
ip('addr', 'add', '2001:db8:1::1/64', 'dev', 'client', 'nodad');
ip('link', 'set', 'client', 'up');
ip('link', 'add', 'site', 'type', 'bridge');
ip('link', 'add', 'server', 'type', 'veth', 'peer', 'name', 'lan', 'netns', server.pid);
for (const port of ['vm2', 'server']) ip('link', 'set', port, 'master', 'site');
for (const name of ['site', 'server']) ip('link', 'set', name, 'up');
await client.ask('up lan 198.18.1.10/24 2001:db8:1::10/64 198.18.1.1 2001:db8:1::1');
await server.ask('up lan 198.18.2.20/25 2001:db8:2::20/80 198.18.2.1 2001:db8:2::1');
for (const address of ['198.18.2.20', '2001:db8:2::20']) await server.ask(`serve ${address} 5001`);

// ---------------------------------------------------------------- the daemons

const daemons = new Map<string, ChildProcess>();

function api<T>(name: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { socketPath: join(site.directory, `${name}.sock`), path, timeout: 60_000 },
      (answer) => {
        let text = '';
        answer.on('data', (piece: Buffer) => (text += piece.toString()));
        answer.on('end', () => {
          try {
            resolve(JSON.parse(text) as T);
          } catch (error) {
            reject(error as Error);
          }
        });
      },
    );
    asked.on('error', reject);
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.end();
  });
}

async function startDaemon(
  name: string,
  config: string,
  before: string[],
  env: Record<string, string>,
): Promise<string> {
  const file = join(site.directory, `${name}.toml`);
  writeFileSync(file, config);
  mkdirSync(join(site.directory, name), { recursive: true });
  const log = openSync(join(site.directory, `${name}.log`), 'a');
  const child = spawn(process.execPath, [...before, program, '--config', file], {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...env },
  });
  daemons.set(name, child);
  let ended: number | string | undefined;
  child.on('exit', (code, signal) => {
    ended = signal ?? code ?? 'nothing';
    if (daemons.get(name) === child) daemons.delete(name);
  });
  for (let n = 0; n < 600 && ended === undefined; n++) {
    const status = await api<Status>(name, '/v1/status').catch(() => undefined);
    if (status?.state === 'running')
      return `${status.platform} ${status.roles.join()} ${status.plane?.kind ?? ''}`;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const said = readFileSync(join(site.directory, `${name}.log`), 'utf8')
    .trim()
    .split('\n')
    .slice(-3);
  return `failed ${name} does not run (${ended ?? 'no answer'}): ${said.join(' ')}`;
}

async function endDaemon(name: string, signal: NodeJS.Signals): Promise<string> {
  const child = daemons.get(name);
  if (!child) return 'failed it does not run';
  const end = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  return `ok ${String(await end)}`;
}

const rlocs = (locators: { rloc: string }[]): string =>
  locators
    .map(({ rloc }) => rloc)
    .sort()
    .join();

let transfer: Promise<string> | undefined;

const commands: Record<string, (words: string[]) => Promise<string> | string> = {
  gateway: ([how]) => startDaemon('gateway', gatewayConfig(how === 'patient' ? PATIENT : QUICK), [], {}),
  start: ([role = 'xtr']) =>
    startDaemon('xtr', siteConfig(role), ['--import', join(here, 'as-freebsd.js')], {
      AMPTCP_AGENT: `127.0.0.1:${site.port}`,
    }),
  stop: () => endDaemon('xtr', 'SIGTERM'),
  kill: () => endDaemon('xtr', 'SIGKILL'),
  async registrations() {
    const { registrations } = await api<RegistrationList>('gateway', '/v1/registrations');
    return registrations
      .filter(({ state }) => state === 'registered')
      .map(({ eid, locators }) => `${eid}=${rlocs(locators)}`)
      .join(' ');
  },
  async mappings() {
    const { mappings } = await api<MappingList>('xtr', '/v1/mappings');
    return mappings.map(({ eid, locators }) => `${eid}=${rlocs(locators)}`).join(' ');
  },
  async subflows() {
    const { connections } = await api<ConnectionList>('gateway', '/v1/connections');
    return connections
      .flatMap(({ subflows }) => subflows)
      .filter(({ state, path }) => state === 'established' && path)
      .map(({ local, path }) => `${local.address} ${local.port} ${path!.local} ${path!.remote}`)
      .join(', ');
  },
  async paths([name = '']) {
    const { paths } = await api<PathList>(name, '/v1/paths');
    return paths
      .map((path) => `${path.local}>${path.remote} ${path.state} ${path.packetsSent} ${path.packetsReceived}`)
      .join(', ');
  },
  warnings: () =>
    readFileSync(join(site.directory, 'xtr.log'), 'utf8')
      .split('\n')
      .filter((line) => /"level":(4|5|6)0|"level":"(warn|error|fatal)"/.test(line))
      .map((line) => (JSON.parse(line) as { msg: string }).msg)
      .join('; '),
  server: () => server.ask('counters'),
  linux: () => mptcpCounters() || 'none',
  async connections() {
    const { connections } = await api<ConnectionList>('xtr', '/v1/connections');
    return connections
      .map(({ client: from, protocol, state, bytes }) =>
        [from.address, protocol, state, bytes.up, bytes.down].join(' '),
      )
      .join(', ');
  },
  echo: (words) => client.ask(`echo ${words.join(' ')}`),
  begin(words) {
    transfer = client.ask(`echo ${words.join(' ')}`);
    return 'ok';
  },
  finish: async () => (await transfer) ?? 'failed nothing was begun',
};

process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [verb = '', ...words] = line.trim().split(' ');
    void Promise.resolve()
      .then(() => commands[verb]?.(words) ?? `failed no command ${verb}`)
      .catch((error: unknown) => `failed ${(error as Error).message.replaceAll('\n', ' ')}`)
      .then((text) => process.stdout.write(`${text || 'none'}\n`));
  })
  .on('close', () => {
    void (async () => {
      for (const name of [...daemons.keys()]) await endDaemon(name, 'SIGKILL');
      client.end();
      server.end();
    })().finally(() => process.exit(0));
  });
