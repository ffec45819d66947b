// SPDX-License-Identifier: BSD-2-Clause
/*
 * The Linux sockets on a real kernel, one scenario a process, in namespaces that nobody else has:
 *
 *                            v1 10.0.1.0/24
 *   client 10.10.0.2 --- gw =============== server 198.18.1.10
 *          fd10::2           v2 10.0.2.0/24        fd18::10
 *
 * This process is the gateway, in the namespace `unshare` made for it; client and server are ip netns inside. Two
 * wires lead to the server; a flow is pinned to one by a rule on its port, on both sides.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { localHostNetwork, raiseFileLimit } from '../../src/platform/linux/descriptors.js';
import { type HostNetwork } from '../../src/platform/linux/host-network.js';
import { LinuxInterceptor } from '../../src/platform/linux/interceptor.js';
import { LinuxMptcpConnector } from '../../src/platform/linux/mptcp-connector.js';
import { LinuxRelay } from '../../src/platform/linux/relay.js';
import type {
  ClientFlow,
  ConnectOptions,
  Flow,
  InterceptRules,
  MptcpConnection,
  MptcpEvent,
  RelayOptions,
  RelayReport,
  RelaySession,
} from '../../src/platform/platform.js';
import { expectedHash, type Outcome, type PeerRequest, type Wish } from './sockets-peer.js';

export const SERVER = { 4: '198.18.1.10', 6: 'fd18::10' } as const;
export const CLIENT = { 4: '10.10.0.2', 6: 'fd10::2' } as const;
const PORT = 8080;
const peerProgram = fileURLToPath(new URL('./sockets-peer.js', import.meta.url));

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
const inside = (ns: string, ...args: string[]): string => ip('netns', 'exec', ns, ...args);

export const clock = {
  now: () => performance.now(),
  setTimeout: (callback: () => void, ms: number): unknown => setTimeout(callback, ms),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
};

/** Waits for a condition, never for a time. */
export async function until(what: string, condition: () => boolean, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

interface PeerEvent {
  event: string;
  id?: number;
  outcome?: Outcome;
  received?: number;
  remote?: string;
}

export class Peer {
  readonly events: PeerEvent[] = [];
  readonly process: ChildProcess;
  #next = 1;

  constructor(ns: string) {
    this.process = spawn('ip', ['netns', 'exec', ns, process.execPath, peerProgram, 'peer'], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.process.on('message', (event: PeerEvent) => this.events.push(event));
  }

  async wait(
    event: string,
    matches: (event: PeerEvent) => boolean = () => true,
    limitMs?: number,
  ): Promise<PeerEvent> {
    const found = (): PeerEvent | undefined => this.events.find((one) => one.event === event && matches(one));
    await until(`${event} of a peer`, () => found() !== undefined, limitMs);
    return found()!;
  }

  async listen(address: string, port = PORT, mptcp = false): Promise<void> {
    this.process.send({ do: 'listen', address, port, mptcp } satisfies PeerRequest);
    const before = this.events.filter(({ event }) => event === 'listening').length;
    await until('listening', () => this.events.filter(({ event }) => event === 'listening').length > before);
  }

  transfer(request: {
    address: string;
    port?: number;
    local?: string;
    mptcp?: boolean;
    send?: number;
    wish?: Partial<Wish>;
    resetAfter?: number;
    keepOpen?: boolean;
  }): number {
    const id = this.#next++;
    this.process.send({
      do: 'transfer',
      id,
      port: PORT,
      send: 0,
      ...request,
      wish: { send: 0, ...request.wish },
    } satisfies PeerRequest);
    return id;
  }

  async outcome(id: number, limitMs?: number): Promise<Outcome> {
    return (await this.wait('transferred', (event) => event.id === id, limitMs)).outcome!;
  }

  received(id: number): number {
    return this.events.findLast((event) => event.event === 'progress' && event.id === id)?.received ?? 0;
  }
}

/** Octets a device of the gateway has moved since it was made. */
export function deviceBytes(device: string, direction: 'rx' | 'tx'): number {
  const [link] = JSON.parse(execFileSync('ip', ['-s', '-j', 'link', 'show', 'dev', device]).toString()) as [
    { stats64: Record<'rx' | 'tx', { bytes: number }> },
  ];
  return link.stats64[direction].bytes;
}

export function buildNetwork(rate?: string): void {
  ip('link', 'set', 'lo', 'up');
  execFileSync('mkdir', ['-p', '/run/netns']);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run/netns']);
  for (const ns of ['client', 'server']) {
    ip('netns', 'add', ns);
    ip('-n', ns, 'link', 'set', 'lo', 'up');
  }
  const sysctl = (name: string, value: string): void => {
    for (const run of [
      (...args: string[]) => execFileSync(args[0]!, args.slice(1)),
      (...args: string[]) => inside('server', ...args),
    ])
      run('sysctl', '-qw', `${name}=${value}`);
  };
  for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) sysctl(name, '1');
  // MPTCP with bbr, the default of some hosts, stalls on wires this short.
  sysctl('net.ipv4.tcp_congestion_control', 'reno');
  for (const name of ['net.ipv4.conf.all.rp_filter', 'net.ipv4.conf.default.rp_filter']) sysctl(name, '0');
  // Link-local addresses that are being looked for by others delay the first packet by a second or two.
  for (const name of ['all', 'default']) {
    sysctl(`net.ipv6.conf.${name}.accept_dad`, '0');
    inside('client', 'sysctl', '-qw', `net.ipv6.conf.${name}.accept_dad=0`);
  }
  ip('link', 'add', 'c0', 'type', 'veth', 'peer', 'name', 'c0', 'netns', 'client');
  for (const [ns, end] of [
    [[], '1'],
    [['-n', 'client'], '2'],
  ] as const) {
    ip(...ns, 'addr', 'add', `10.10.0.${end}/24`, 'dev', 'c0');
    ip(...ns, 'addr', 'add', `fd10::${end}/64`, 'dev', 'c0', 'nodad');
    ip(...ns, 'link', 'set', 'c0', 'up');
  }
  ip('-n', 'client', 'route', 'add', 'default', 'via', '10.10.0.1');
  ip('-n', 'client', '-6', 'route', 'add', 'default', 'via', 'fd10::1');
  for (const path of ['1', '2']) {
    ip('link', 'add', `v${path}`, 'type', 'veth', 'peer', 'name', `v${path}`, 'netns', 'server');
    for (const [ns, end, other] of [
      [[], '1', '2'],
      [['-n', 'server'], '2', '1'],
    ] as const) {
      ip(...ns, 'addr', 'add', `10.0.${path}.${end}/24`, 'dev', `v${path}`);
      ip(...ns, 'addr', 'add', `fd00:${path}::${end}/64`, 'dev', `v${path}`, 'nodad');
      ip(...ns, 'link', 'set', `v${path}`, 'up');
      ip(...ns, 'route', 'add', 'default', 'via', `10.0.${path}.${other}`, 'table', `10${path}`);
      ip(...ns, '-6', 'route', 'add', 'default', 'via', `fd00:${path}::${other}`, 'table', `10${path}`);
      if (path === '1') {
        ip(...ns, 'route', 'add', 'default', 'via', `10.0.1.${other}`);
        ip(...ns, '-6', 'route', 'add', 'default', 'via', `fd00:1::${other}`);
      }
      if (rate !== undefined) {
        const tc = [
          'qdisc',
          'add',
          'dev',
          `v${path}`,
          'root',
          'tbf',
          'rate',
          rate,
          'burst',
          '64k',
          'latency',
          '50ms',
        ];
        execFileSync('tc', [...ns, ...tc]);
      }
    }
  }
  // The way back to the gateway's EIDs is the default route, by the first wire.
  ip('-n', 'server', 'addr', 'add', `${SERVER[4]}/32`, 'dev', 'lo');
  ip('-n', 'server', 'addr', 'add', `${SERVER[6]}/128`, 'dev', 'lo', 'nodad');
}

/** Both directions of a flow by one wire, by the local port: what a pin in the data plane is in the product. */
export function pin(path: 1 | 2): (flow: Flow) => void {
  return ({ local, remote }) => {
    const family = local.address.includes(':') ? '-6' : '-4';
    const table = ['lookup', `10${path}`];
    ip(
      family,
      'rule',
      'add',
      'pref',
      '100',
      'ipproto',
      'tcp',
      'sport',
      String(local.port),
      'dport',
      String(remote.port),
      ...table,
    );
    ip(
      '-n',
      'server',
      family,
      'rule',
      'add',
      'pref',
      '100',
      'ipproto',
      'tcp',
      'dport',
      String(local.port),
      'sport',
      String(remote.port),
      ...table,
    );
  };
}

/** Silence in both directions, links up. */
export function cut(path: 1 | 2): void {
  execFileSync('nft', ['-f', '-'], {
    input: `table inet cut {
      chain in { type filter hook prerouting priority -400; iif v${path} drop; }
      chain out { type filter hook postrouting priority 400; oif v${path} drop; }
    }`,
  });
}

export const RULES: InterceptRules = {
  interfaces: ['c0'],
  ports: [{ from: 1024, to: 65535 }],
  include: ['198.18.0.0/15', 'fd18::/16'],
  exclude: [],
  protocol: 'tcp',
};

export interface Proxied {
  flow: ClientFlow;
  connection?: MptcpConnection;
  session?: RelaySession;
  report?: RelayReport;
  error?: { code: string };
  events: MptcpEvent[];
  /** How often the relay has found it starved. */
  starved: number;
}

/** The least gateway: every flow is connected on, then relayed. */
export class MiniGateway {
  readonly host: HostNetwork;
  readonly interceptor: LinuxInterceptor;
  readonly connector: LinuxMptcpConnector;
  readonly relay: LinuxRelay;
  readonly proxied: Proxied[] = [];
  connect: Partial<ConnectOptions> = {};
  relayOptions: RelayOptions = { idleTimeoutMs: 60_000, halfOpenTimeoutMs: 30_000, keepaliveSeconds: 60 };
  onConnected: (proxied: Proxied) => void = () => undefined;

  constructor(host: HostNetwork = localHostNetwork((message) => console.error(message)), threads = 2) {
    raiseFileLimit();
    this.host = host;
    this.interceptor = new LinuxInterceptor(host);
    this.connector = new LinuxMptcpConnector({ host, clock });
    this.relay = new LinuxRelay(threads);
  }

  async start(rules: InterceptRules = RULES): Promise<void> {
    await this.host.setLocalPrefixes(['192.0.2.0/28', 'fd92::/64']);
    await this.connector.start();
    await this.relay.start();
    await this.interceptor.start(rules, (flow) => void this.#flow(flow));
  }

  async #flow(flow: ClientFlow): Promise<void> {
    const proxied: Proxied = { flow, events: [], starved: 0 };
    this.proxied.push(proxied);
    try {
      const six = flow.destination.address.includes(':');
      const connection = await this.connector.connect({
        source: { prefix: six ? 'fd92::/64' : '192.0.2.0/28' },
        remote: flow.destination,
        multipath: false,
        viaLisp: false,
        timeoutMs: 5000,
        beforeSyn: () => undefined,
        ...this.connect,
      });
      proxied.connection = connection;
      connection.onEvent((event) => proxied.events.push(event));
      proxied.session = this.relay.run(await flow.accept(), connection.socket, {
        ...this.relayOptions,
        onStarved: () => {
          proxied.starved++;
          connection.acknowledge?.();
        },
      });
      void proxied.session.closed.then((report) => {
        proxied.report = report;
        connection.dispose();
      });
      this.onConnected(proxied);
    } catch (error) {
      proxied.error = error as { code: string };
      flow.refuse(proxied.error.code);
    }
  }

  async report(index = 0): Promise<RelayReport> {
    await until('report', () => this.proxied[index]?.report !== undefined);
    return this.proxied[index]!.report!;
  }

  async stop(): Promise<void> {
    await this.interceptor.stop();
    await this.relay.stop();
    await this.connector.stop();
    await this.host.close();
  }
}

export const eventsOf = (proxied: Proxied, type: MptcpEvent['type']): MptcpEvent[] =>
  proxied.events.filter((event) => event.type === type);

export function assertReceived(outcome: Outcome, length: number): void {
  assert.equal(outcome.error, undefined);
  assert.equal(outcome.received, length);
  assert.equal(outcome.sha256, expectedHash(length));
}

/** Everything of ours that is installed in this namespace now. */
export function installed(): string {
  return [
    execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).replace(/table inet cut\n/, ''),
    ...[...ip('rule', 'show').split('\n'), ...ip('-6', 'rule', 'show').split('\n')].filter((rule) =>
      rule.includes('proto 143'),
    ),
    ip('route', 'show', 'table', 'all', 'proto', '143'),
    ip('-6', 'route', 'show', 'table', 'all', 'proto', '143'),
  ].join('');
}
