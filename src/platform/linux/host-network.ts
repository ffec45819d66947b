// SPDX-License-Identifier: BSD-2-Clause

/**
 * The one place that changes this host's network: nftables, policy rules, routes, devices, sysctls. Every change is
 * remembered and taken back in reverse order; `clean()` takes back what a killed predecessor could not.
 *
 *   daemon unsplit:  interceptor, plane, connector -> LocalHostNetwork -> nft, ip, /proc/sys, /dev/net/tun
 *   daemon split:    interceptor, plane, connector -> GuardClient -> (UNIX socket) -> guard -> LocalHostNetwork
 *
 * Requests are values, not commands, so that the guard can check each one before it acts on it.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import ipaddr from 'ipaddr.js';
import { PlatformError } from '../platform.js';
import type { LispPrograms } from './lisp-programs.js';

/** Everything of ours is recognisable by these, also after a kill -9. */
export const TABLE = 'amptcp';
/** Mark of packets that belong to a transparent socket of ours, or are to reach a listener of ours. */
export const TPROXY_MARK = 0x1a2700;
/** Mark of proxied sockets: their packets go into the LISP device whatever the main table says. */
export const LISP_MARK = 0x1a2701;
export const TPROXY_TABLE = 4340;
export const LISP_TABLE = 4341;
/** One table per RLOC with a gateway, from here on. */
export const RLOC_TABLE = 4350;
export const RLOC_TABLES = 64;
/** Routing protocol number (/etc/iproute2/rt_protos) of our rules and routes. */
export const ROUTE_PROTOCOL = 143;
/** Addresses the transparent listeners are bound to: not reachable but through the tproxy rule. */
export const LISTEN_ADDRESS = { 4: '127.0.0.1', 6: '::1' } as const;

export interface TunRequest {
  device: string;
  /** One descriptor each. */
  queues: number;
  /** Packets carry a virtio-net header: super-packets with checksums left open (IFF_VNET_HDR). */
  vnetHeader: boolean;
}

export interface TunDevice {
  device: string;
  descriptors: number[];
}

export interface DeviceSettings {
  mtu?: number;
  /** Prefixes routed into the device by the main table. */
  routes: string[];
  /** Packets of sockets with LISP_MARK go into the device. */
  markedTraffic: boolean;
}

export interface RlocRoute {
  address: string;
  interface?: string;
  gateway?: string;
}

export interface InterceptionRequest {
  interfaces: string[];
  ports: { from: number; to: number }[];
  include: string[];
  exclude: string[];
  /** Ports of the listeners on LISTEN_ADDRESS; 'original': one listener for each port the rules name. */
  listeners: { v4: number; v6: number } | 'original';
}

export interface ListenRequest {
  family: 4 | 6;
  /** 0: any. */
  port: number;
  protocol: 'tcp' | 'mptcp';
  backlog?: number;
}

export interface BypassEntry {
  prefix: string;
  expiresInSeconds: number;
}

/** Sysctls the daemon may set; each is put back to what it was. */
export const SYSCTLS = {
  'net.mptcp.path_manager': /^(kernel|userspace)$/,
  'net.mptcp.pm_type': /^[01]$/,
  'net.mptcp.enabled': /^1$/,
  'net.ipv4.ip_forward': /^1$/,
  'net.ipv6.conf.all.forwarding': /^1$/,
  'net.ipv4.ip_nonlocal_bind': /^[01]$/,
  'net.ipv6.ip_nonlocal_bind': /^[01]$/,
} as const;
export type SysctlName = keyof typeof SYSCTLS;

/** `set…` operations replace what an earlier call of the same name made and may be repeated (reload). */
export interface HostNetwork {
  openTun(request: TunRequest): Promise<TunDevice>;
  /** Brings a device of ours up and routes into it what is to go there. */
  setDevice(device: string, settings: DeviceSettings): Promise<void>;
  /** Prefixes delivered to this host as if each address were its own (the gateway's EIDs). */
  setLocalPrefixes(prefixes: string[]): Promise<void>;
  /** Packets from an RLOC leave by that RLOC's provider. */
  setRlocRoutes(rlocs: RlocRoute[]): Promise<void>;
  /**
   * Replaces the interception rules in one step. `undefined`: nothing new is intercepted, packets of sockets that
   * are open are still delivered. 'none': the table goes, with all it says.
   */
  setInterception(request: InterceptionRequest | undefined | 'none'): Promise<void>;
  addBypass(prefix: string, ttlSeconds: number): Promise<void>;
  removeBypass(prefix: string): Promise<void>;
  listBypass(): Promise<BypassEntry[]>;
  /** A listening IP_TRANSPARENT socket on LISTEN_ADDRESS (a port under 1024 takes privilege). */
  listen(request: ListenRequest): Promise<number>;
  /** @returns the value it had, undefined when this kernel has no such sysctl. */
  setSysctl(name: SysctlName, value: string): Promise<string | undefined>;
  /** Loads the eBPF programs for a process that may not; absent: it does so itself. */
  loadLispPrograms?(): Promise<LispPrograms>;
  /** Takes back what a killed predecessor left. Not while this one has anything installed. */
  clean(device?: string): Promise<void>;
  /** Takes back everything, in reverse order. */
  close(): Promise<void>;
}

/** Arguments of ip that make a change, and that take it back. */
interface Change {
  key: string;
  work: string[];
  back: string[];
  again?: boolean;
}

// ---------------------------------------------------------------- checks

/** A request that names something it must not; nothing has been done. */
export class InvalidRequest extends PlatformError {
  constructor(message: string) {
    super(message, 'EINVAL');
  }
}

export function checkDevice(name: string): string {
  // dev_valid_name() of the kernel, and nothing that nft or ip would take for something else.
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(name))
    throw new InvalidRequest(`not an interface name: ${JSON.stringify(name)}`);
  return name;
}

export interface Prefix {
  /** Canonical, host bits cleared. */
  text: string;
  address: string;
  length: number;
  family: 4 | 6;
}

/** "192.0.2.0/24", "192.0.2.1", "2001:db8::/32" -> canonical prefix. */
export function checkPrefix(text: string): Prefix {
  const [address, length, rest] = text.split('/');
  if (rest === undefined && address !== undefined && ipaddr.isValid(address) && !address.includes('%')) {
    const family = address.includes(':') ? 6 : 4;
    if (family === 6 || ipaddr.IPv4.isValidFourPartDecimal(address)) {
      const bits = family === 6 ? 128 : 32;
      const wanted = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : NaN;
      if (wanted >= 0 && wanted <= bits) {
        const canonical =
          family === 6
            ? ipaddr.IPv6.networkAddressFromCIDR(`${address}/${wanted}`).toRFC5952String()
            : ipaddr.IPv4.networkAddressFromCIDR(`${address}/${wanted}`).toString();
        return { text: `${canonical}/${wanted}`, address: canonical, length: wanted, family };
      }
    }
  }
  throw new InvalidRequest(`not an address or prefix: ${JSON.stringify(text)}`);
}

export function checkAddress(text: string): { address: string; family: 4 | 6 } {
  const prefix = checkPrefix(text);
  if (text.includes('/')) throw new InvalidRequest(`not an address: ${JSON.stringify(text)}`);
  return { address: prefix.address, family: prefix.family };
}

export function checkInteger(what: string, value: number, from: number, to: number): number {
  if (!Number.isInteger(value) || value < from || value > to)
    throw new InvalidRequest(`${what} must be ${from} to ${to}, not ${String(value)}`);
  return value;
}

export function checkSysctl(name: string, value: string): SysctlName {
  const pattern = Object.hasOwn(SYSCTLS, name) ? SYSCTLS[name as SysctlName] : undefined;
  if (!pattern?.test(value))
    throw new InvalidRequest(`sysctl ${JSON.stringify(name)} = ${JSON.stringify(value)} is not ours to set`);
  return name as SysctlName;
}

// ---------------------------------------------------------------- the nftables table, as text

const byFamily = (prefixes: string[], family: 4 | 6): string[] =>
  mergePrefixes(prefixes.map(checkPrefix).filter((prefix) => prefix.family === family)).map(
    (prefix) => prefix.text,
  );

/** Drops prefixes that another one covers: interval sets refuse overlaps. */
function mergePrefixes(prefixes: Prefix[]): Prefix[] {
  const sorted = [...prefixes].sort((a, b) => a.length - b.length);
  const kept: Prefix[] = [];
  for (const prefix of sorted) {
    const address = ipaddr.parse(prefix.address);
    if (!kept.some((other) => address.match(ipaddr.parse(other.address), other.length))) kept.push(prefix);
  }
  return kept;
}

function mergePorts(ports: { from: number; to: number }[]): { from: number; to: number }[] {
  const sorted = ports
    .map(({ from, to }) => ({
      from: checkInteger('port', from, 1, 65535),
      to: checkInteger('port', to, from, 65535),
    }))
    .sort((a, b) => a.from - b.from);
  const merged: { from: number; to: number }[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last && range.from <= last.to + 1) last.to = Math.max(last.to, range.to);
    else merged.push({ ...range });
  }
  return merged;
}

/** Ports in a rule set, one by one. */
export const eachPort = (ports: { from: number; to: number }[]): number[] =>
  mergePorts(ports).flatMap(({ from, to }) =>
    Array.from({ length: to - from + 1 }, (_, index) => from + index),
  );

/**
 *   prerouting (mangle): what a packet meets
 *
 *     of a transparent socket of ours?  -> mark, accept: rule 4340 delivers it here
 *     to this host itself, broadcast    -> accept, untouched
 *     not our interface / port / prefix -> untouched
 *     excluded, in the bypass set       -> untouched
 *     else                              -> listener; no listener (daemon gone): untouched
 *
 * The bypass sets are only declared, never flushed, so that entries survive a replacement of the rules.
 */
export function interceptionRuleset(request: InterceptionRequest | undefined): string {
  const lines = [
    `add table inet ${TABLE}`,
    `add set inet ${TABLE} bypass4 { type ipv4_addr; flags interval, timeout; }`,
    `add set inet ${TABLE} bypass6 { type ipv6_addr; flags interval, timeout; }`,
    `add chain inet ${TABLE} prerouting { type filter hook prerouting priority mangle; policy accept; }`,
    `flush chain inet ${TABLE} prerouting`,
  ];
  const rule = (text: string): unknown => lines.push(`add rule inet ${TABLE} prerouting ${text}`);
  rule('meta l4proto != tcp accept');
  rule(`socket transparent 1 meta mark set ${TPROXY_MARK} accept`);
  if (request === undefined) return lines.join('\n') + '\n';

  rule('fib daddr type { local, broadcast, multicast, anycast } accept');
  // A stray packet of a connection that is not ours must not reach a listener (it would be answered with RST).
  rule('tcp flags & (fin | syn | rst | ack) != syn accept');
  if (request.interfaces.length > 0)
    rule(
      `iifname != { ${[...new Set(request.interfaces.map(checkDevice))].map((name) => `"${name}"`).join(', ')} } accept`,
    );
  const ports = mergePorts(request.ports);
  if (ports.length === 0) return lines.join('\n') + '\n';
  const portSet = ports.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
  rule(`tcp dport != { ${portSet} } accept`);
  for (const [family, header] of [
    [4, 'ip'],
    [6, 'ip6'],
  ] as const) {
    const include = byFamily(request.include, family);
    const exclude = byFamily(request.exclude, family);
    const ours = `meta nfproto ipv${family}`;
    if (request.include.length > 0)
      rule(include.length > 0 ? `${header} daddr != { ${include.join(', ')} } accept` : `${ours} accept`);
    if (exclude.length > 0) rule(`${header} daddr { ${exclude.join(', ')} } accept`);
    rule(`${header} daddr @bypass${family} accept`);
    const address = family === 6 ? `[${LISTEN_ADDRESS[6]}]` : LISTEN_ADDRESS[4];
    const port =
      request.listeners === 'original'
        ? ''
        : `:${checkInteger('listener port', family === 6 ? request.listeners.v6 : request.listeners.v4, 1, 65535)}`;
    rule(
      `${ours} meta l4proto tcp tproxy ${header} to ${address}${port} meta mark set ${TPROXY_MARK} accept`,
    );
  }
  return lines.join('\n') + '\n';
}

// ---------------------------------------------------------------- doing it

/** Runs a program without a shell. */
export type Run = (program: string, args: string[], input?: string) => Promise<string>;

/** What `LocalHostNetwork` needs of native code; injected so that it can be tested without. */
export interface HostDescriptors {
  openTun(device: string, vnetHeader: boolean, multiQueue: boolean): { device: string; descriptor: number };
  openListener(address: string, port: number, mptcp: boolean, backlog: number): number;
  close(descriptor: number): void;
}

// nft and ip live in sbin, which an unprivileged user's PATH may lack.
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/local/sbin`;

export const runProgram: Run = (program, args, input) =>
  new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env: { PATH, LC_ALL: 'C' }, timeout: 10_000, maxBuffer: 64 << 20, encoding: 'utf8' },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const told = stderr.trim().split('\n').slice(0, 4).join('; ') || error.message;
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'ENOENT')
          reject(
            new PlatformError(
              `${program} is not installed (Debian: apt-get install ${program === 'nft' ? 'nftables' : 'iproute2'})`,
              'ENOENT',
            ),
          );
        else
          reject(
            new PlatformError(
              `${program} ${args.join(' ')}: ${told}`,
              /permitted|must be root/i.test(told) ? 'EPERM' : 'EINVAL',
            ),
          );
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });

interface Undo {
  what: string;
  run(): Promise<unknown>;
}

const proto = ['proto', String(ROUTE_PROTOCOL)];
const familyFlag = (family: 4 | 6): string => (family === 6 ? '-6' : '-4');

export class LocalHostNetwork implements HostNetwork {
  /** Oldest first; keyed so that a repeated `set` replaces its own entries. */
  readonly #undo = new Map<string, Undo>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly descriptors: HostDescriptors,
    private readonly run: Run = runProgram,
    /** Told of what could not be taken back. */
    private readonly warn: (message: string) => void = () => undefined,
    /** Takes eBPF programs of ours off every device. */
    private readonly detachPrograms: () => void = () => undefined,
  ) {}

  /** One change after the other: two that overlap could each see half of the other's. */
  #serial<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work, work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  /** Does it unless it is done already, and remembers how to take it back. `again`: the kernel may have undone it. */
  async #once(key: string, work: string[], back: string[], again = false): Promise<void> {
    if (this.#undo.has(key)) {
      if (again)
        await this.run('ip', work).catch((error: Error) => this.warn(`could not restore: ${error.message}`));
      return;
    }
    await this.run('ip', work);
    this.#undo.set(key, { what: `ip ${back.join(' ')}`, run: () => this.run('ip', back) });
  }

  async #takeBack(key: string): Promise<void> {
    const undo = this.#undo.get(key);
    if (!undo) return;
    this.#undo.delete(key);
    try {
      await undo.run();
    } catch (error) {
      // Gone with its device, or by somebody else's hand: then there is nothing left to take back.
      if (!/No such|Cannot find|does not exist/i.test((error as Error).message))
        this.warn(`could not take back: ${undo.what}: ${(error as Error).message}`);
    }
  }

  /** Makes the entries under `area:` be exactly `wanted`. */
  async #replace(area: string, wanted: Change[]): Promise<void> {
    const keys = new Set(wanted.map(({ key }) => `${area}:${key}`));
    for (const { key, work, back, again } of wanted) await this.#once(`${area}:${key}`, work, back, again);
    for (const key of [...this.#undo.keys()].reverse())
      if (key.startsWith(`${area}:`) && !keys.has(key)) await this.#takeBack(key);
  }

  openTun(request: TunRequest): Promise<TunDevice> {
    return this.#serial(async () => {
      const device = checkDevice(request.device);
      const queues = checkInteger('queues', request.queues, 1, 64);
      const opened: number[] = [];
      try {
        for (let queue = 0; queue < queues; queue++)
          opened.push(this.descriptors.openTun(device, request.vnetHeader, queues > 1).descriptor);
      } catch (error) {
        for (const descriptor of opened) this.descriptors.close(descriptor);
        throw error;
      }
      // Not remembered: the device is not persistent and goes with its descriptors, whoever holds them.
      return { device, descriptors: opened };
    });
  }

  setDevice(device: string, settings: DeviceSettings): Promise<void> {
    return this.#serial(async () => {
      checkDevice(device);
      const routes = settings.routes.map(checkPrefix);
      const mtu =
        settings.mtu === undefined ? [] : ['mtu', String(checkInteger('mtu', settings.mtu, 576, 65535))];
      // Link-local addresses would only make the device send router solicitations into the tunnel.
      await this.#writeSysctl(`net/ipv6/conf/${device}/addr_gen_mode`, '1');
      await this.run('ip', ['link', 'set', 'dev', device, ...mtu, 'up']);
      // What comes out of the tunnel is checked against the mapping of its source; strict reverse path filtering
      // would drop it whenever the way back is by mark.
      await this.#writeSysctl(`net/ipv4/conf/${device}/rp_filter`, '0');
      const wanted = routes.map(({ text, family }) => ({
        key: text,
        work: [familyFlag(family), 'route', 'replace', text, 'dev', device, ...proto],
        back: [familyFlag(family), 'route', 'del', text, 'dev', device, ...proto],
      }));
      if (settings.markedTraffic)
        for (const family of [4, 6] as const) {
          if (family === 6 && !(await this.#hasIpv6())) continue;
          wanted.push({
            key: `marked-route-${family}`,
            work: [
              familyFlag(family),
              'route',
              'replace',
              'default',
              'dev',
              device,
              'table',
              String(LISP_TABLE),
              ...proto,
            ],
            back: [
              familyFlag(family),
              'route',
              'del',
              'default',
              'dev',
              device,
              'table',
              String(LISP_TABLE),
              ...proto,
            ],
          });
          wanted.push({
            key: `marked-rule-${family}`,
            ...this.#rule(family, LISP_TABLE, ['fwmark', String(LISP_MARK)], LISP_TABLE),
          });
        }
      await this.#replace(`device ${device}`, wanted);
    });
  }

  setLocalPrefixes(prefixes: string[]): Promise<void> {
    return this.#serial(() =>
      this.#replace(
        'local',
        prefixes.map(checkPrefix).map(({ text, family }) => ({
          key: text,
          work: [
            familyFlag(family),
            'route',
            'replace',
            'local',
            text,
            'dev',
            'lo',
            'table',
            'local',
            ...proto,
          ],
          back: [familyFlag(family), 'route', 'del', 'local', text, 'dev', 'lo', 'table', 'local', ...proto],
        })),
      ),
    );
  }

  setRlocRoutes(rlocs: RlocRoute[]): Promise<void> {
    return this.#serial(async () => {
      checkInteger('number of RLOCs', rlocs.length, 0, RLOC_TABLES);
      const wanted: Change[] = [];
      const tables = new Map<string, number>();
      for (const key of this.#undo.keys()) {
        const found = /^rloc:(\S+) rule (\d+)/.exec(key);
        if (found) tables.set(found[1]!, Number(found[2]));
      }
      for (const rloc of rlocs) {
        if (rloc.gateway === undefined) continue;
        const { address, family } = checkAddress(rloc.address);
        const gateway = checkAddress(rloc.gateway);
        if (gateway.family !== family)
          throw new InvalidRequest(
            `gateway ${rloc.gateway} of RLOC ${rloc.address} is of the other address family`,
          );
        let table = tables.get(address);
        for (let next = RLOC_TABLE; table === undefined; next++)
          if (![...tables.values()].includes(next)) table = next;
        tables.set(address, table);
        const route = [
          'default',
          'via',
          gateway.address,
          ...(rloc.interface === undefined ? [] : ['dev', checkDevice(rloc.interface)]),
          'table',
          String(table),
        ];
        wanted.push({
          key: `${address} route ${route.join(' ')}`,
          work: [familyFlag(family), 'route', 'replace', ...route, ...proto],
          back: [familyFlag(family), 'route', 'del', ...route, ...proto],
          // It goes when its interface goes down, and does not come back by itself.
          again: true,
        });
        wanted.push({
          key: `${address} rule ${table}`,
          ...this.#rule(family, table, ['from', address], table),
        });
      }
      await this.#replace('rloc', wanted);
    });
  }

  setInterception(request: InterceptionRequest | undefined | 'none'): Promise<void> {
    return this.#serial(async () => {
      if (request === 'none') {
        await this.#replace('intercept', []);
        await this.#takeBack('table');
        return;
      }
      const ruleset = interceptionRuleset(request);
      // Delivery first: a packet that is marked must find its way to the socket.
      const wanted = [];
      for (const family of [4, 6] as const) {
        if (family === 6 && !(await this.#hasIpv6())) continue;
        wanted.push({
          key: `route-${family}`,
          work: [
            familyFlag(family),
            'route',
            'replace',
            'local',
            'default',
            'dev',
            'lo',
            'table',
            String(TPROXY_TABLE),
            ...proto,
          ],
          back: [
            familyFlag(family),
            'route',
            'del',
            'local',
            'default',
            'dev',
            'lo',
            'table',
            String(TPROXY_TABLE),
            ...proto,
          ],
        });
        wanted.push({
          key: `rule-${family}`,
          ...this.#rule(family, TPROXY_TABLE, ['fwmark', String(TPROXY_MARK)], TPROXY_TABLE),
        });
      }
      const fresh = !this.#undo.has('table');
      try {
        await this.#replace('intercept', wanted);
        await this.run('nft', ['-f', '-'], ruleset);
      } catch (error) {
        if (fresh) await this.#replace('intercept', []);
        throw error;
      }
      this.#undo.set('table', {
        what: `nft delete table inet ${TABLE}`,
        run: () => this.run('nft', ['delete', 'table', 'inet', TABLE]),
      });
    });
  }

  async addBypass(prefix: string, ttlSeconds: number): Promise<void> {
    const { text, family } = checkPrefix(prefix);
    const ttl = checkInteger('bypass seconds', Math.ceil(ttlSeconds), 1, 7 * 86_400);
    await this.#serial(() => this.#editBypass(text, family, ttl));
  }

  async removeBypass(prefix: string): Promise<void> {
    const { text, family } = checkPrefix(prefix);
    await this.#serial(() => this.#editBypass(text, family, undefined));
  }

  /** An interval set refuses an element that overlaps others: those the new one covers go, one that covers it stays. */
  async #editBypass(text: string, family: 4 | 6, ttl: number | undefined): Promise<void> {
    const set = `inet ${TABLE} bypass${family}`;
    const add = (seconds: number): string => `add element ${set} { ${text} timeout ${seconds}s }\n`;
    const remove = (what: string): string => `delete element ${set} { ${what} }\n`;
    // Adding what is there changes nothing, so this sets the time-out anew or removes, in one transaction.
    try {
      await this.run('nft', ['-f', '-'], add(1) + remove(text) + (ttl === undefined ? '' : add(ttl)));
      return;
    } catch (error) {
      if ((error as PlatformError).code === 'EPERM' || (error as PlatformError).code === 'ENOENT')
        throw error;
    }
    // An interval set refuses what overlaps: entries the new one covers go, one that covers it stays.
    const element = checkPrefix(text);
    const covers = (outer: Prefix, inner: Prefix): boolean =>
      outer.length <= inner.length &&
      ipaddr.parse(inner.address).match(ipaddr.parse(outer.address), outer.length);
    const present = (await this.#listBypass())
      .map((entry) => checkPrefix(entry.prefix))
      .filter((prefix) => prefix.family === family);
    if (
      ttl === undefined ||
      present.some((prefix) => prefix.length < element.length && covers(prefix, element))
    )
      return;
    const covered = present.filter((prefix) => covers(element, prefix)).map((prefix) => remove(prefix.text));
    await this.run('nft', ['-f', '-'], covered.join('') + add(ttl));
  }

  listBypass(): Promise<BypassEntry[]> {
    return this.#serial(() => this.#listBypass());
  }

  async #listBypass(): Promise<BypassEntry[]> {
    const entries: BypassEntry[] = [];
    for (const family of [4, 6]) {
      const text = await this.run('nft', ['-j', 'list', 'set', 'inet', TABLE, `bypass${family}`]);
      entries.push(...parseBypass(text));
    }
    return entries;
  }

  async listen(request: ListenRequest): Promise<number> {
    const port = checkInteger('port', request.port, 0, 65535);
    const backlog = checkInteger('backlog', request.backlog ?? 4096, 1, 65535);
    return this.descriptors.openListener(
      request.family === 6 ? LISTEN_ADDRESS[6] : LISTEN_ADDRESS[4],
      port,
      request.protocol === 'mptcp',
      backlog,
    );
  }

  setSysctl(name: SysctlName, value: string): Promise<string | undefined> {
    return this.#serial(async () => {
      checkSysctl(name, value);
      const path = name.replaceAll('.', '/');
      const before = await this.#readSysctl(path);
      if (before === undefined || before === value) return before;
      if (!(await this.#writeSysctl(path, value)))
        throw new PlatformError(`sysctl ${name} cannot be set to ${value}`, 'EPERM');
      if (!this.#undo.has(`sysctl:${name}`))
        this.#undo.set(`sysctl:${name}`, {
          what: `sysctl ${name}=${before}`,
          run: () => this.#writeSysctl(path, before),
        });
      return before;
    });
  }

  async #readSysctl(path: string): Promise<string | undefined> {
    return readFile(`/proc/sys/${path}`, 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    );
  }

  async #writeSysctl(path: string, value: string): Promise<boolean> {
    return writeFile(`/proc/sys/${path}`, value).then(
      () => true,
      () => false,
    );
  }

  async #hasIpv6(): Promise<boolean> {
    return (await this.#readSysctl('net/ipv6/conf/all/disable_ipv6')) === '0';
  }

  #rule(
    family: 4 | 6,
    priority: number,
    selector: string[],
    table: number,
  ): { work: string[]; back: string[] } {
    const rule = ['pref', String(priority), ...selector, 'lookup', String(table), ...proto];
    return {
      work: [familyFlag(family), 'rule', 'add', ...rule],
      back: [familyFlag(family), 'rule', 'del', ...rule],
    };
  }

  clean(device?: string): Promise<void> {
    return this.#serial(async () => {
      const quietly = (program: string, args: string[]): Promise<string> =>
        this.run(program, args).catch(() => '');
      const list = (text: string): Record<string, unknown>[] => {
        try {
          return JSON.parse(text || '[]') as Record<string, unknown>[];
        } catch {
          return [];
        }
      };
      await quietly('nft', ['delete', 'table', 'inet', TABLE]);
      this.detachPrograms();
      for (const family of [4, 6] as const) {
        await quietly('ip', [familyFlag(family), 'rule', 'flush', ...proto]);
        // One question for all tables: a start after a crash must not take a program run per table.
        const routes = list(
          await quietly('ip', ['-j', familyFlag(family), 'route', 'show', 'table', 'all', ...proto]),
        );
        for (const route of routes.slice(0, 10_000)) {
          const type = typeof route['type'] === 'string' ? [route['type']] : [];
          const dev = typeof route['dev'] === 'string' ? ['dev', route['dev']] : [];
          const table = typeof route['table'] === 'string' ? route['table'] : 'main';
          await quietly('ip', [
            familyFlag(family),
            'route',
            'del',
            ...type,
            String(route['dst']),
            ...dev,
            'table',
            table,
            ...proto,
          ]);
        }
      }
      if (device !== undefined) {
        const [link] = list(await quietly('ip', ['-j', '-d', 'link', 'show', 'dev', checkDevice(device)]));
        const kind = (link?.['linkinfo'] as { info_kind?: string } | undefined)?.info_kind;
        // A device in use has a carrier; only a persistent left-over without an owner is taken away.
        if (kind === 'tun' && (link?.['flags'] as string[] | undefined)?.includes('NO-CARRIER'))
          await quietly('ip', ['link', 'del', 'dev', device]);
      }
    });
  }

  close(): Promise<void> {
    return this.#serial(async () => {
      for (const key of [...this.#undo.keys()].reverse()) await this.#takeBack(key);
    });
  }
}

/** Output of `nft -j list set`. */
export function parseBypass(text: string): BypassEntry[] {
  const { nftables } = JSON.parse(text) as { nftables: { set?: { elem?: unknown[] } }[] };
  const entries: BypassEntry[] = [];
  for (const { set } of nftables)
    for (const item of set?.elem ?? []) {
      const { val, expires } = (item as { elem?: { val: unknown; expires?: number } }).elem ?? {
        val: item,
        expires: undefined,
      };
      const expiresInSeconds = expires ?? 0;
      if (typeof val === 'string') entries.push({ prefix: checkPrefix(val).text, expiresInSeconds });
      else {
        const { prefix } = val as { prefix?: { addr: string; len: number } };
        if (prefix)
          entries.push({ prefix: checkPrefix(`${prefix.addr}/${prefix.len}`).text, expiresInSeconds });
      }
    }
  return entries;
}
