// SPDX-License-Identifier: BSD-2-Clause

/** A lab that stands: its hosts, daemons, servers and the handles to act on them. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RouteName, RouteResponse } from '../daemon/api/schema.js';
import { type CallOptions, call } from './api.js';
import { type ConfigOptions, DAEMON_HOSTS, type DaemonHost, PORTS, configFile } from './configs.js';
import { Holder } from './holder.js';
import { pseudoRandom } from './hosts/pseudo-random.js';
import { LabError, type Outcome, type RunOptions, finished, run, waitFor } from './process.js';
import { type Registered, register } from './registry.js';
import {
  INSIDE,
  PROVIDER_DEVICE,
  type Family,
  addresses,
  provider,
  scripts,
  serverRoutes,
  uplink,
} from './topology.js';

export interface LabOptions {
  /** Providers, 1 to 8. */
  rlocs?: number;
  /** Mbit/s of each provider; 0 for unshaped. */
  rateMbps?: number;
  family?: Family;
  source?: 'nat' | 'client';
  user?: string;
  /** Outlives this process. */
  standing?: boolean;
  name?: string;
  probe?: ConfigOptions['probe'];
  logLevel?: ConfigOptions['logLevel'];
  extra?: ConfigOptions['extra'];
  extraKeys?: ConfigOptions['extraKeys'];
  /** Told what is being done. */
  onStep?: (text: string) => void;
}

export interface Transfer {
  bytes: number;
  seconds: number;
  mbps: number;
  sha256Match: boolean;
}

export interface TransferOptions {
  direction: 'up' | 'down';
  bytes: number;
  address?: string;
  port?: number;
  timeoutMs?: number;
  /** curl's own options. */
  curl?: string[];
  /** Told whenever octets arrive at the client of a download. */
  onBytes?: (total: number) => void;
}

/** One direction of one inner TCP flow inside LISP, as seen on a provider's link to the gateway. */
export interface WireFlow {
  provider: number;
  outer: [string, string];
  inner: [string, number, string, number];
  packets: number;
  bytes: number;
  syn: 'capable' | 'join' | 'plain' | null;
}

/** Octets a provider has sent towards gateway (down) and data centres (up), with every header down to Ethernet. */
export interface ProviderCounters {
  up: number;
  down: number;
}

export interface Daemon {
  host: DaemonHost;
  /** Its exit status; the daemon's own, nsenter passes it on. */
  exited: Promise<number>;
  running: () => boolean;
}

/** The project's folder: this file is dist/src/lab/lab.js in it. */
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const compiled = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
/** C files are not copied by the compiler: from dist/src/lab to src/lab. */
const source = (path: string): string => fileURLToPath(new URL(`../../../src/lab/${path}`, import.meta.url));

const environment = {
  PATH: [process.env.PATH ?? '/usr/bin:/bin', '/usr/sbin', '/sbin'].join(delimiter),
  LC_ALL: 'C',
};

/** As many descriptors as this host grants: a proxied connection costs two. */
const RAISE_LIMITS = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"; ';

export class Lab {
  readonly rlocs: number;
  readonly rateMbps: number;
  readonly family: Family;
  /** Where the server is. */
  site: 1 | 2 = 1;
  readonly daemons = new Map<DaemonHost, Daemon>();
  private readonly watchers = new Map<number, Watcher>();
  private readonly children = new Set<ChildProcess>();
  private closed = false;

  private constructor(
    private readonly options: LabOptions,
    private readonly registered: Registered,
    readonly holder: Holder,
  ) {
    this.rlocs = options.rlocs ?? 2;
    this.rateMbps = options.rateMbps ?? 50;
    this.family = options.family ?? 4;
  }

  get name(): string {
    return this.registered.name;
  }

  /** Configuration, sockets, state and logs, a folder a host. */
  get directory(): string {
    return this.registered.directory;
  }

  /** The network alone: hosts, links, routes. No daemon, no server. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    const registered = register(options.name, options.standing ?? false);
    let holder: Holder | undefined;
    try {
      options.onStep?.('namespaces');
      holder = await Holder.start({ standing: options.standing ?? false });
      registered.save({ holder: holder.identity, rlocs: options.rlocs ?? 2, family: options.family ?? 4 });
      const lab = new Lab(options, registered, holder);
      for (const host of ['client', 'server', ...DAEMON_HOSTS]) {
        mkdirSync(join(lab.directory, host, 'state'), { recursive: true });
      }
      options.onStep?.('network');
      await lab.build();
      return lab;
    } catch (error) {
      await holder?.destroy();
      registered.remove();
      throw error;
    }
  }

  private async build(): Promise<void> {
    const plan = scripts({ rlocs: this.rlocs, rateMbps: this.rateMbps });
    await this.run(undefined, ['ip', '-batch', '-'], { input: plan.before });
    await Promise.all([...plan.hosts].map(([host, script]) => this.run(host, ['sh'], { input: script })));
  }

  private configOptions(): ConfigOptions {
    return {
      family: this.family,
      rlocs: this.rlocs,
      directory: this.directory,
      site: this.site,
      source: this.options.source ?? 'nat',
      ...(this.options.user ? { user: this.options.user } : {}),
      ...(this.options.probe ? { probe: this.options.probe } : {}),
      ...(this.options.logLevel ? { logLevel: this.options.logLevel } : {}),
      extra: this.options.extra ?? {},
      extraKeys: this.options.extraKeys ?? {},
    };
  }

  // ---------------------------------------------------------------- hosts

  /** Runs a program in a host (undefined: in the namespace that holds them) to its end. */
  run(host: string | undefined, command: string[], options: RunOptions = {}): Promise<Outcome> {
    return this.holder.run(host, command, { ...options, env: { ...environment, ...options.env } });
  }

  shell(host: string, script: string, options: RunOptions = {}): Promise<Outcome> {
    return this.run(host, ['sh', '-e'], { ...options, input: script });
  }

  /**
   * Starts a program in a host; its output goes to HOST/NAME.log unless `piped`. It ends with the lab. Its process number
   * in the lab is in HOST/NAME.pid.
   */
  spawn(
    host: string,
    name: string,
    command: string[],
    options: { piped?: boolean; env?: NodeJS.ProcessEnv } = {},
  ): ChildProcess {
    const directory = join(this.directory, host);
    mkdirSync(directory, { recursive: true });
    const log = openSync(join(directory, `${name}.log`), 'a');
    const wrapped = [
      'sh',
      '-c',
      RAISE_LIMITS + 'echo $$ > "$0"; exec "$@"',
      join(directory, `${name}.pid`),
      ...command,
    ];
    const child = this.holder.spawn(host, wrapped, {
      stdio: options.piped ? ['pipe', 'pipe', log] : ['ignore', log, log],
      env: { ...process.env, ...environment, ...options.env },
      detached: this.options.standing ?? false,
    });
    closeSync(log);
    if (this.options.standing) child.unref();
    this.children.add(child);
    child.once('close', () => this.children.delete(child));
    child.once('error', () => this.children.delete(child));
    return child;
  }

  log(host: string, name: string): string {
    try {
      return readFileSync(join(this.directory, host, `${name}.log`), 'utf8');
    } catch {
      return '';
    }
  }

  /** Process number, inside the lab, of what `spawn` started. */
  pid(host: string, name: string): number {
    return Number(readFileSync(join(this.directory, host, `${name}.pid`), 'utf8'));
  }

  async signal(host: string, name: string, signal: string): Promise<void> {
    await this.run(host, ['kill', '-s', signal, String(this.pid(host, name))]);
  }

  // ---------------------------------------------------------------- daemons

  socket(host: DaemonHost): string {
    return join(this.directory, host, 'amptcpd.sock');
  }

  configPath(host: DaemonHost): string {
    return join(this.directory, host, 'amptcpd.toml');
  }

  writeConfig(host: DaemonHost, changes: Partial<ConfigOptions> = {}): void {
    const path = this.configPath(host);
    writeFileSync(path, configFile(host, { ...this.configOptions(), ...changes }), {
      mode: 0o600,
    });
    // It holds keys, so only who needs it may read it: the daemon does when it reloads.
    if (host === 'gateway' && this.options.user) execFileSync('chown', [this.options.user, path]);
  }

  api<N extends RouteName>(host: DaemonHost, name: N, options: CallOptions = {}): Promise<RouteResponse<N>> {
    return call(this.socket(host), name, options);
  }

  /**
   * The daemon's program. An unprivileged one must be able to read it wherever the project is, in a home folder for one
   * that is closed to others: it is shown to the lab below /run, which is the lab's own.
   */
  private async daemonProgram(): Promise<string> {
    const program = compiled('../daemon/main.js');
    if (this.options.user === undefined) return program;
    const shown = '/run/amptcp-project';
    await this.run(undefined, ['sh', '-ec', 'mountpoint -q "$2" || { mkdir -p "$2"; mount --bind "$1" "$2"; }', 'sh', PROJECT, shown]); // prettier-ignore
    return join(shown, relative(PROJECT, program));
  }

  /** Starts a daemon and waits until its API says that it runs. */
  async startDaemon(host: DaemonHost, changes: Partial<ConfigOptions> = {}): Promise<Daemon> {
    this.writeConfig(host, changes);
    const child = this.spawn(host, 'amptcpd', [
      process.execPath,
      await this.daemonProgram(),
      '--config',
      this.configPath(host),
    ]);
    let status: number | undefined;
    const exited = finished(child).then((code) => (status = code));
    exited.catch(() => (status = -1));
    const daemon: Daemon = { host, exited, running: () => status === undefined };
    this.daemons.set(host, daemon);
    await waitFor(
      `the daemon of ${host} to run`,
      async () => {
        if (status !== undefined) return 'ended';
        return (await this.api(host, 'status', { timeoutMs: 2000 })).state === 'running' && 'runs';
      },
      20_000,
      50,
    ).then(
      (result) => {
        if (result === 'ended')
          throw new LabError(`the daemon of ${host} ended with status ${status}:\n${this.lastLog(host)}`);
      },
      (error: unknown) => {
        throw new LabError(`${(error as Error).message}\n${this.lastLog(host)}`, { cause: error });
      },
    );
    return daemon;
  }

  lastLog(host: DaemonHost): string {
    return this.log(host, 'amptcpd').split('\n').slice(-15).join('\n');
  }

  async stopDaemon(host: DaemonHost, signal = 'TERM'): Promise<number> {
    const daemon = this.daemons.get(host);
    if (!daemon) throw new LabError(`no daemon was started in ${host}`);
    if (daemon.running()) await this.signal(host, 'amptcpd', signal);
    const timeout = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new LabError(`the daemon of ${host} did not end within 20 s`)), 20_000).unref();
    });
    return Promise.race([daemon.exited, timeout]);
  }

  /** New configuration file, SIGHUP as an administrator would. */
  async reload(
    host: DaemonHost,
    changes: Partial<ConfigOptions> = {},
  ): Promise<RouteResponse<'configReload'>> {
    this.writeConfig(host, changes);
    return this.api(host, 'configReload');
  }

  /** All daemons, and waits until both sites are registered and the paths between them are up. */
  async startDaemons(changes: Partial<ConfigOptions> = {}): Promise<void> {
    this.options.onStep?.('map-server');
    await this.startDaemon('map', changes);
    this.options.onStep?.('data-centre xTRs');
    await Promise.all([this.startDaemon('dc1', changes), this.startDaemon('dc2', changes)]);
    await this.registered_(addresses.serverPrefix(this.family));
    this.options.onStep?.('gateway');
    await this.startDaemon('gateway', changes);
    await this.registered_(addresses.natPrefix(this.family));
  }

  private async registered_(eid: string): Promise<void> {
    await waitFor(
      `${eid} to be registered`,
      async () => {
        const { registrations } = await this.api('map', 'registrationList');
        return registrations.some((entry) => entry.eid === eid && entry.state === 'registered');
      },
      15_000,
      50,
    );
  }

  // ---------------------------------------------------------------- servers

  private async compile(file: string, flags: string[], output: string): Promise<string> {
    const path = join(this.directory, output);
    const args = [...flags, '-O2', '-o', path, source(file)];
    const first = await run('cc', args, { tolerant: true }).catch(() => ({ status: 1 }));
    if (first.status !== 0) await run('g++', ['-x', 'c', ...args]);
    return path;
  }

  private shim?: Promise<string>;

  /** Environment that makes a program's TCP sockets MPTCP sockets. */
  async mptcpEnvironment(): Promise<NodeJS.ProcessEnv> {
    this.shim ??= this.compile('hosts/mptcpize.c', ['-shared', '-fPIC'], 'mptcpize.so');
    return { LD_PRELOAD: await this.shim };
  }

  /** HTTP with and without MPTCP at the server, plain HTTP at the host without mapping. */
  async startServers(): Promise<void> {
    this.options.onStep?.('servers');
    const program = [process.execPath, compiled('hosts/http-server.js')];
    const env = await this.mptcpEnvironment();
    const starts: [string, string, number[], NodeJS.ProcessEnv][] = [
      ['server', 'http', [PORTS.http, PORTS.direct], env],
      ['server', 'plain', [PORTS.plain, PORTS.plainDirect], {}],
      ['web', 'http', [PORTS.http, PORTS.direct], {}],
    ];
    await Promise.all(
      starts.map(async ([host, name, ports, variables]) => {
        this.spawn(host, name, [...program, ports.join(',')], { env: variables });
        await waitFor(`the ${name} server of ${host}`, () => {
          const log = this.log(host, name);
          if (log.includes('http-server:')) throw new LabError(log);
          return ports.every((port) => log.includes(`listening ${port}`));
        });
      }),
    );
  }

  /** iperf3 at the server, with MPTCP unless told. */
  async startIperf(options: { mptcp?: boolean; port?: number } = {}): Promise<void> {
    const port = options.port ?? PORTS.iperf;
    const env = (options.mptcp ?? true) ? await this.mptcpEnvironment() : {};
    this.spawn('server', `iperf-${port}`, ['iperf3', '-s', '-p', String(port), '--forceflush'], { env });
    await this.listening('server', port);
  }

  /** Waits until someone listens on a TCP port of a host. */
  async listening(host: string, port: number): Promise<void> {
    await waitFor(`a listener on port ${port} of ${host}`, async () => {
      const { stdout } = await this.run(host, ['ss', '-Hltn', 'sport', '=', `:${port}`]);
      return stdout.trim() !== '';
    });
  }

  /** Received (down) or sent (up) Mbit/s as iperf3's receiver saw them. */
  async iperf(direction: 'up' | 'down', seconds: number, args: string[] = []): Promise<number> {
    const command = [
      'iperf3', '-J', '-c', addresses.server(this.family), '-p', String(PORTS.iperf), '-t', String(seconds),
      ...(direction === 'down' ? ['-R'] : []), ...args,
    ]; // prettier-ignore
    // Its server takes one test at a time, and hears of the end of the last one a little later than we do.
    return waitFor(
      'a result of iperf3',
      async () => {
        const { stdout } = await this.run('client', command, {
          timeoutMs: (seconds + 30) * 1000,
          tolerant: true,
        });
        const result = JSON.parse(stdout) as {
          error?: string;
          end?: { sum_received?: { bits_per_second: number } };
        };
        const rate = result.end?.sum_received?.bits_per_second;
        if (rate === undefined) throw new LabError(result.error ?? 'no result');
        return rate / 1e6;
      },
      (seconds + 10) * 1000,
      250,
    );
  }

  // ---------------------------------------------------------------- transfers

  url(path: string, options: { address?: string; port?: number } = {}): string {
    const address = options.address ?? addresses.server(this.family);
    const host = address.includes(':') ? `[${address}]` : address;
    return `http://${host}:${options.port ?? PORTS.http}${path}`;
  }

  private transfers = 0;
  private readonly uploads = new Map<number, Promise<{ path: string; sha256: string }>>();

  /** One file by curl from the client, both ends' SHA-256 compared. @throws LabError when curl fails. */
  async transfer(options: TransferOptions): Promise<Transfer> {
    const id = `${options.direction}-${process.pid}-${++this.transfers}`;
    const curl = [
      'curl', '--silent', '--show-error', '--fail', '--globoff', '--noproxy', '*', '--header', 'Expect:',
      '--write-out', '%{stderr}\n%{json}', ...(options.curl ?? []),
    ]; // prettier-ignore
    const deadline = setTimeoutSignal(options.timeoutMs ?? 120_000);
    try {
      return options.direction === 'down'
        ? await this.download(curl, id, options, deadline.signal)
        : await this.upload(curl, options, deadline.signal);
    } finally {
      deadline.clear();
    }
  }

  private async curl(
    command: string[],
    signal: AbortSignal,
    onData: (chunk: Buffer) => void,
  ): Promise<{ seconds: number }> {
    const child = this.holder.spawn('client', command, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
      signal,
    });
    let complaints = '';
    child.stdout!.on('data', onData);
    child.stderr!.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
    const status = await finished(child).catch((error: Error) => {
      throw new LabError(`the transfer did not end in time (${error.message})`, { cause: error });
    });
    const json = complaints.slice(complaints.lastIndexOf('\n{') + 1);
    if (status !== 0) throw new CurlError(status, complaints.split('\n')[0] ?? '');
    return { seconds: (JSON.parse(json) as { time_total: number }).time_total };
  }

  private async download(
    curl: string[],
    id: string,
    options: TransferOptions,
    signal: AbortSignal,
  ): Promise<Transfer> {
    const hash = createHash('sha256');
    let bytes = 0;
    const { seconds } = await this.curl(
      [...curl, this.url(`/bytes/${options.bytes}?id=${id}`, options)],
      signal,
      (chunk) => {
        hash.update(chunk);
        bytes += chunk.length;
        options.onBytes?.(bytes);
      },
    );
    // What was sent is asked of the server directly, past the gateway.
    const { stdout } = await this.run('client', [
      'curl', '--silent', '--globoff', '--noproxy', '*', '--retry', '3',
      this.url(`/digest?id=${id}`, { ...options, port: options.port === PORTS.plain ? PORTS.plainDirect : PORTS.direct }),
    ]); // prettier-ignore
    const sent = JSON.parse(stdout) as { bytes: number; sha256: string };
    return {
      bytes,
      seconds,
      mbps: (bytes * 8) / seconds / 1e6,
      sha256Match: bytes === options.bytes && sent.bytes === bytes && sent.sha256 === hash.digest('hex'),
    };
  }

  private async upload(curl: string[], options: TransferOptions, signal: AbortSignal): Promise<Transfer> {
    let file = this.uploads.get(options.bytes);
    if (!file) {
      file = this.uploadFile(options.bytes);
      this.uploads.set(options.bytes, file);
    }
    const { path, sha256 } = await file;
    let body = '';
    const { seconds } = await this.curl(
      [...curl, '--upload-file', path, this.url('/upload', options)],
      signal,
      (chunk) => (body += chunk.toString()),
    );
    const received = JSON.parse(body) as { bytes: number; sha256: string };
    return {
      bytes: received.bytes,
      seconds,
      mbps: (received.bytes * 8) / seconds / 1e6,
      sha256Match: received.bytes === options.bytes && received.sha256 === sha256,
    };
  }

  private async uploadFile(bytes: number): Promise<{ path: string; sha256: string }> {
    const path = join(this.directory, 'client', `upload-${bytes}`);
    const hash = createHash('sha256');
    const fd = openSync(path, 'w');
    try {
      for (const chunk of pseudoRandom(`upload-${bytes}`, bytes)) {
        hash.update(chunk);
        writeFileSync(fd, chunk);
      }
    } finally {
      closeSync(fd);
    }
    return Promise.resolve({ path, sha256: hash.digest('hex') });
  }

  // ---------------------------------------------------------------- what the providers see

  async providerCounters(): Promise<ProviderCounters[]> {
    return Promise.all(
      Array.from({ length: this.rlocs }, async (_, index) => {
        const sent = (devices: { name: string; bytes: number }[], names: string[]): number =>
          devices.filter(({ name }) => names.includes(name)).reduce((sum, { bytes }) => sum + bytes, 0);
        const devices = await this.sentBytes(provider(index + 1));
        return {
          up: sent(devices, [PROVIDER_DEVICE.dc1, PROVIDER_DEVICE.dc2]),
          down: sent(devices, [PROVIDER_DEVICE.gateway]),
        };
      }),
    );
  }

  /** A shaper's counters know how many packets a super-packet stands for; a device's do not. */
  private async sentBytes(host: string): Promise<{ name: string; bytes: number }[]> {
    if (this.rateMbps > 0) {
      const { stdout } = await this.run(host, ['tc', '-s', '-j', 'qdisc', 'show']);
      const list = JSON.parse(stdout) as { kind: string; dev: string; bytes: number }[];
      return list.filter(({ kind }) => kind === 'tbf').map(({ dev, bytes }) => ({ name: dev, bytes }));
    }
    const { stdout } = await this.run(host, ['ip', '-s', '-j', 'link', 'show']);
    const list = JSON.parse(stdout) as { ifname: string; stats64: { tx: { bytes: number } } }[];
    return list.map(({ ifname, stats64 }) => ({ name: ifname, bytes: stats64.tx.bytes }));
  }

  /** Starts reading the LISP packets between each provider and the gateway. */
  async watch(): Promise<void> {
    const program = await this.compile('hosts/flowwatch.c', [], 'flowwatch');
    for (let index = 1; index <= this.rlocs; index++) {
      const child = this.spawn(provider(index), 'flowwatch', [program, PROVIDER_DEVICE.gateway], {
        piped: true,
      });
      const watcher = new Watcher(child);
      await watcher.ready;
      this.watchers.set(index, watcher);
    }
  }

  async wireFlows(): Promise<{ flows: WireFlow[]; malformed: number }> {
    const flows: WireFlow[] = [];
    let malformed = 0;
    for (const [index, watcher] of this.watchers) {
      const report = await watcher.ask();
      malformed += report.malformed;
      flows.push(...report.flows.map((flow) => ({ ...flow, provider: index })));
    }
    return { flows, malformed };
  }

  // ---------------------------------------------------------------- what happens to the network

  /** The provider drops everything it would forward, both ways, and says nothing; its links stay up. */
  async cut(index: number): Promise<void> {
    await this.run(provider(index), ['nft', '-f', '-'], {
      input: `table inet cut {
  chain forward { type filter hook forward priority -300; policy drop; }
  # Neighbours still find each other, or senders would hear of it.
  chain input { type filter hook input priority -300; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
  chain output { type filter hook output priority -300; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
}`,
    });
  }

  async restore(index: number): Promise<void> {
    await this.run(provider(index), ['nft', 'delete', 'table', 'inet', 'cut']);
  }

  /**
   * Moves the server with its addresses and connections to the other site, as a virtual machine would be: its cable is
   * plugged in there, the native announcement follows, and each xTR is told what its site now has.
   */
  async moveServer(): Promise<void> {
    const from = this.site;
    const to = from === 1 ? 2 : 1;
    const [old, target] = [`dc${from}`, `dc${to}`];
    const mac = (
      await this.run(old, ['cat', `/sys/class/net/${INSIDE}/address`], { tolerant: true })
    ).stdout.trim();
    await this.run(old, ['ip', 'link', 'set', INSIDE, 'netns', target]);
    const lines = ([4, 6] as const).map(
      (family) =>
        `ip addr add ${addresses.serverGateway(family)}/${family === 4 ? 24 : 64} dev ${INSIDE}${family === 6 ? ' nodad' : ''}`,
    );
    if (mac.includes(':')) lines.unshift(`ip link set ${INSIDE} address ${mac}`);
    lines.push(`ip link set ${INSIDE} up`);
    await this.shell(target, lines.join('\n'));
    await this.shell(
      provider(1),
      serverRoutes(to)
        .map(({ family, route }) => `ip -${family} route replace ${route}`)
        .join('\n'),
    );
    this.site = to;
    if (this.daemons.has(target as DaemonHost)) {
      await this.reload(target as DaemonHost);
      await this.reload(old as DaemonHost);
    }
  }

  /** What `interface` of a host is called towards provider `index`. */
  uplink(index: number): string {
    return uplink(index);
  }

  /** The command line by which a person enters a host. */
  enterCommand(host: string): string[] {
    const [program, args] = this.holder.enter(host, ['sh']);
    return [program, ...args];
  }

  // ---------------------------------------------------------------- the end

  /** Removes the lab. Daemons are asked to end first, so that their logs and state are whole. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.holder.destroy();
    await Promise.all([...this.children].map((child) => finished(child).catch(() => undefined)));
    this.registered.remove();
  }
}

/** curl ended with a status other than 0; curl(1) lists them. */
export class CurlError extends LabError {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(`curl: ${message || `status ${status}`}`);
    this.name = 'CurlError';
  }
}

interface WatchReport {
  malformed: number;
  flows: Omit<WireFlow, 'provider'>[];
}

class Watcher {
  readonly ready: Promise<void>;
  private rest = '';
  private readonly waiting: ((line: string) => void)[] = [];
  private ended = false;

  constructor(private readonly child: ChildProcess) {
    child.stdin!.on('error', () => undefined);
    child.once('close', () => {
      this.ended = true;
      for (const resolve of this.waiting.splice(0)) resolve('');
    });
    child.stdout!.on('data', (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString()).split('\n');
      this.rest = lines.pop() ?? '';
      for (const line of lines) this.waiting.shift()?.(line);
    });
    this.ready = this.line().then((line) => {
      if (line !== 'ready') throw new LabError('flowwatch did not start; see its log');
    });
  }

  private line(): Promise<string> {
    return new Promise((resolve) => (this.ended ? resolve('') : this.waiting.push(resolve)));
  }

  async ask(): Promise<WatchReport> {
    const answer = this.line();
    this.child.stdin!.write('\n');
    const line = await answer;
    if (line === '') throw new LabError('flowwatch ended');
    return JSON.parse(line) as WatchReport;
  }
}

function setTimeoutSignal(ms: number): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ms);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
