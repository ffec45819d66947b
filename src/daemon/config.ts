// SPDX-License-Identifier: BSD-2-Clause

/**
 * The configuration file: TOML text in, `Config` out, or every error at once, each with its line, its key and what was
 * expected. Nothing is applied here: the file is checked as a whole before anything changes.
 */
import { parse, TomlError } from 'smol-toml';
import { readFileSync } from 'node:fs';
import {
  addressFamily,
  canonicalAddress,
  isAddress,
  parsePrefix,
  prefixContains,
  PrefixError,
} from '../lisp/prefix.js';
import type { AuthAlgorithm, Config, KeyConfig, RlocConfig, Role } from './config.types.js';
import { keyLines } from './toml-lines.js';

export interface ConfigProblem {
  line?: number;
  key?: string;
  message: string;
}

export class ConfigError extends Error {
  constructor(
    readonly file: string,
    readonly problems: ConfigProblem[],
  ) {
    super(problems.map((problem) => formatProblem(file, problem)).join('\n'));
    this.name = 'ConfigError';
  }
}

/** "amptcpd.conf:12: rloc[0].priority: expected an integer from 0 to 255, found 300" */
export const formatProblem = (file: string, { line, key, message }: ConfigProblem): string =>
  [line === undefined ? file : `${file}:${line}`, ...(key === undefined ? [] : [key]), message].join(': ');

export interface LoadedConfig {
  config: Config;
  /** Allowed, but probably not meant. */
  warnings: ConfigProblem[];
}

const ROLES: readonly Role[] = ['access', 'data-centre', 'xtr', 'map-server'];
const ALGORITHMS: readonly AuthAlgorithm[] = ['hmac-sha-256-128-hkdf', 'hmac-sha-256-128', 'hmac-sha-1-96'];
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** Where things are unless the file says otherwise; hier(7) differs between the two systems. */
export const DEFAULT_STATE_DIR = process.platform === 'linux' ? '/var/lib/amptcp' : '/var/db/amptcp';
export const DEFAULT_SOCKET = '/var/run/amptcp/amptcpd.sock';
export const DEFAULT_CONFIG =
  process.platform === 'freebsd' ? '/usr/local/etc/amptcpd.conf' : '/etc/amptcpd.conf';

export function loadConfig(file: string): LoadedConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(file, [{ message: `cannot read the file: ${(error as Error).message}` }]);
  }
  return parseConfig(text, file);
}

/** @throws ConfigError with every problem of the file. */
export function parseConfig(text: string, file: string): LoadedConfig {
  let root: Table;
  try {
    root = parse(text) as Table;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const message = error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    throw new ConfigError(file, [{ line: error.line, message: `no valid TOML: ${message}` }]);
  }
  const check = new Check(keyLines(text));
  const config = readConfig(new Reader(root, '', check), check);
  if (check.problems.length > 0) {
    throw new ConfigError(
      file,
      check.problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)),
    );
  }
  return { config, warnings: check.warnings };
}

type Table = Record<string, unknown>;

class Check {
  readonly problems: ConfigProblem[] = [];
  readonly warnings: ConfigProblem[] = [];
  constructor(private readonly lines: Map<string, number>) {}

  /** The line of the key itself, or of the nearest table around it (a key that is missing has no line). */
  private problem(key: string, message: string): ConfigProblem {
    for (let path = key; path !== ''; path = path.slice(0, Math.max(0, path.search(/[.[][^.[]*$/)))) {
      const line = this.lines.get(path);
      if (line !== undefined) return { line, key, message };
    }
    return { key, message };
  }
  fail(key: string, message: string): void {
    this.problems.push(this.problem(key, message));
  }
  warn(key: string, message: string): void {
    this.warnings.push(this.problem(key, message));
  }
}

const show = (value: unknown): string => {
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Date) return 'a date';
  if (typeof value === 'object' && value !== null) return 'a table';
  return JSON.stringify(value) ?? 'nothing';
};

const quoted = (values: readonly string[]): string => values.map((value) => `"${value}"`).join(', ');

/** Reads one table: every key that is asked for is checked, every key that is not asked for is an error. */
class Reader {
  private readonly known = new Set<string>();
  constructor(
    private readonly table: Table,
    private readonly path: string,
    private readonly check: Check,
  ) {}

  key(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
  has(name: string): boolean {
    return this.table[name] !== undefined;
  }
  private take(name: string): unknown {
    this.known.add(name);
    return this.table[name];
  }
  private wrong<T>(key: string, expected: string, value: unknown, instead: T): T {
    this.check.fail(key, `expected ${expected}, found ${show(value)}`);
    return instead;
  }
  private missing<T>(name: string, expected: string, instead: T): T {
    this.check.fail(this.key(name), `missing; expected ${expected}`);
    return instead;
  }

  optionalString(name: string, expected = 'a string'): string | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || value === '')
      return this.wrong(this.key(name), expected, value, undefined);
    return value;
  }
  string(name: string, expected: string, fallback?: string): string {
    const value = this.optionalString(name, expected);
    if (value !== undefined) return value;
    if (fallback !== undefined) return fallback;
    return this.has(name) ? '' : this.missing(name, expected, '');
  }
  integer(name: string, min: number, max: number, fallback: number): number {
    return this.optionalInteger(name, min, max) ?? fallback;
  }
  requiredInteger(name: string, min: number, max: number): number {
    const value = this.optionalInteger(name, min, max);
    if (value === undefined && !this.has(name))
      return this.missing(name, `an integer from ${min} to ${max}`, min);
    return value ?? min;
  }
  optionalInteger(name: string, min: number, max: number): number | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      return this.wrong(this.key(name), `an integer from ${min} to ${max}`, value, undefined);
    }
    return value;
  }
  boolean(name: string, fallback: boolean): boolean {
    const value = this.take(name);
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') return this.wrong(this.key(name), 'true or false', value, fallback);
    return value;
  }
  choice<T extends string>(name: string, values: readonly T[], fallback: T): T {
    const value = this.take(name);
    if (value === undefined) return fallback;
    if (!values.includes(value as T)) {
      return this.wrong(this.key(name), `one of ${quoted(values)}`, value, fallback);
    }
    return value as T;
  }
  /** Each element through `read`, which returns what to use or throws an Error that says what was expected. */
  list<T>(name: string, expected: string, read: (text: string) => T): T[] {
    const value = this.take(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) return this.wrong(this.key(name), `an array of ${expected}`, value, []);
    return value.flatMap((item: unknown, index) => {
      const key = `${this.key(name)}[${index}]`;
      if (typeof item !== 'string') return this.wrong(key, expected, item, []);
      try {
        return [read(item)];
      } catch (error) {
        this.check.fail(key, (error as Error).message);
        return [];
      }
    });
  }
  strings(name: string): string[] {
    return this.list(name, 'strings', (text) => text);
  }
  prefixes(name: string): string[] {
    return this.list(name, 'prefixes like "192.0.2.0/24"', readPrefix);
  }
  addresses(name: string): string[] {
    return this.list(name, 'addresses', readAddress);
  }
  prefix(name: string): string {
    const text = this.string(name, 'a prefix like "192.0.2.0/24"');
    return text === '' ? '' : this.convert(name, text, readPrefix);
  }
  address(name: string): string {
    const text = this.string(name, 'an IPv4 or IPv6 address');
    return text === '' ? '' : this.convert(name, text, readAddress);
  }
  optionalAddress(name: string): string | undefined {
    const text = this.optionalString(name, 'an IPv4 or IPv6 address');
    return text === undefined ? undefined : this.convert(name, text, readAddress) || undefined;
  }
  private convert(name: string, text: string, read: (text: string) => string): string {
    try {
      return read(text);
    } catch (error) {
      this.check.fail(this.key(name), (error as Error).message);
      return '';
    }
  }
  /** A sub-table; an absent one reads as empty. */
  sub(name: string): Reader {
    const value = this.take(name);
    const key = this.key(name);
    if (value === undefined) return new Reader({}, key, this.check);
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) {
      this.wrong(key, `a table, [${key}]`, value, undefined);
      return new Reader({}, key, this.check);
    }
    return new Reader(value as Table, key, this.check);
  }
  tables<T>(name: string, read: (reader: Reader) => T): T[] {
    const value = this.take(name);
    if (value === undefined) return [];
    const key = this.key(name);
    if (!Array.isArray(value)) return this.wrong(key, `an array of tables, [[${key}]]`, value, []);
    return value.flatMap((item: unknown, index) => {
      if (typeof item !== 'object' || item === null || Array.isArray(item)) {
        return this.wrong(`${key}[${index}]`, 'a table', item, []);
      }
      const reader = new Reader(item as Table, `${key}[${index}]`, this.check);
      const result = read(reader);
      reader.done();
      return [result];
    });
  }
  /** To be called last: what nobody asked for is a misspelling. */
  done(): void {
    for (const name of Object.keys(this.table)) {
      if (this.known.has(name)) continue;
      const close = nearest(name, this.known);
      this.check.fail(
        this.key(name),
        `unknown key${close === undefined ? `; known here: ${[...this.known].sort().join(', ')}` : `; did you mean "${close}"?`}`,
      );
    }
  }
}

const readAddress = (text: string): string => {
  if (!isAddress(text)) throw new Error(`expected an IPv4 or IPv6 address, found ${show(text)}`);
  return canonicalAddress(text);
};
const readPrefix = (text: string): string => {
  try {
    return parsePrefix(text).text;
  } catch (error) {
    if (!(error instanceof PrefixError)) throw error;
    throw new Error(`expected a prefix: ${error.message}`);
  }
};
const readPorts = (text: string): { from: number; to: number } => {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (!match || from < 1 || to > 65535 || from > to) {
    throw new Error(`expected a port or a range like "1024-65535", found ${show(text)}`);
  }
  return { from, to };
};

/** The known name that a misspelt one most resembles, if any resembles it at all. */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase().replaceAll('-', '_'), candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

function readConfig(root: Reader, check: Check): Config {
  const roles = readRoles(root, check);
  const user = root.optionalString('user', 'a user name');
  const group = root.optionalString('group', 'a group name');
  const stateDir = root.string('state_dir', 'a directory', DEFAULT_STATE_DIR);

  const apiTable = root.sub('api');
  const api: Config['api'] = {
    socket: apiTable.string('socket', 'the path of a UNIX socket', DEFAULT_SOCKET),
    group: apiTable.optionalString('group', 'a group name'),
    mode: apiTable.integer('mode', 0, 0o777, 0o660),
  };
  // sun_path has 104 octets on FreeBSD and 108 on Linux, the final NUL included.
  if (Buffer.byteLength(api.socket) > 103) {
    check.fail('api.socket', `expected at most 103 octets, found ${Buffer.byteLength(api.socket)}`);
  }
  apiTable.done();

  const logTable = root.sub('log');
  const log: Config['log'] = { level: logTable.choice('level', LEVELS, 'info') };
  logTable.done();

  const rlocs = root.tables('rloc', (reader) => readRloc(reader, check));
  const seen = new Set<string>();
  rlocs.forEach((rloc, index) => {
    if (rloc.address !== '' && seen.has(rloc.address))
      check.fail(`rloc[${index}].address`, `${rloc.address} is there twice`);
    seen.add(rloc.address);
  });

  const config: Config = {
    roles,
    user,
    group,
    stateDir,
    api,
    log,
    rlocs,
    lisp: readLisp(root.sub('lisp'), rlocs, check),
    intercept: readIntercept(root.sub('intercept'), check),
    mptcp: readMptcp(root.sub('mptcp')),
    relay: readRelay(root.sub('relay')),
    mapServer: readMapServer(root.sub('map_server')),
  };
  root.done();
  checkRoles(config, check);
  return config;
}

function readRoles(root: Reader, check: Check): Role[] {
  if (!root.has('roles')) {
    check.fail('roles', `missing; expected an array of ${quoted(ROLES)}`);
  }
  const roles = root.list('roles', `one of ${quoted(ROLES)}`, (text) => {
    if (!ROLES.includes(text as Role)) {
      const close = nearest(text, ROLES);
      throw new Error(
        `expected one of ${quoted(ROLES)}, found "${text}"${close === undefined ? '' : `; did you mean "${close}"?`}`,
      );
    }
    return text as Role;
  });
  if (root.has('roles') && roles.length === 0 && check.problems.length === 0) {
    check.fail('roles', `expected at least one of ${quoted(ROLES)}`);
  }
  return [...new Set(roles)];
}

function readRloc(reader: Reader, check: Check): RlocConfig {
  const rloc: RlocConfig = {
    address: reader.address('address'),
    interface: reader.optionalString('interface', 'the name of an interface'),
    gateway: reader.optionalAddress('gateway'),
    priority: reader.integer('priority', 0, 255, 1),
    weight: reader.integer('weight', 0, 100, 100),
  };
  if (rloc.gateway !== undefined) {
    if (rloc.interface === undefined) {
      check.fail(
        reader.key('gateway'),
        'a gateway needs the interface it is reached through: set "interface"',
      );
    }
    if (rloc.address !== '' && addressFamily(rloc.gateway) !== addressFamily(rloc.address)) {
      check.fail(
        reader.key('gateway'),
        `expected an address of the RLOC's family (IPv${addressFamily(rloc.address)}), found "${rloc.gateway}"`,
      );
    }
  }
  return rloc;
}

const readKey = (reader: Reader): KeyConfig => ({
  keyId: reader.integer('key_id', 0, 255, 1),
  key: reader.string('key', 'the shared secret'),
  algorithm: reader.choice('algorithm', ALGORITHMS, 'hmac-sha-256-128-hkdf'),
});

const MAX_IID = 0xffffff;
/** Where the LISP data plane runs: in the kernel where that is possible, or where told. */
const PLANES = ['auto', 'user', 'kernel'] as const;

function readLisp(reader: Reader, rlocs: RlocConfig[], check: Check): Config['lisp'] {
  const iid = reader.integer('instance_id', 0, MAX_IID, 0);
  const remote = (r: Reader) => ({
    address: r.address('address'),
    priority: r.integer('priority', 0, 255, 1),
    weight: r.integer('weight', 0, 100, 100),
  });
  const probe = reader.sub('probe');
  const lisp: Config['lisp'] = {
    iid,
    device: reader.string('device', 'the name of an interface', 'lisp0'),
    plane: reader.choice('plane', PLANES, 'auto'),
    mtu: reader.optionalInteger('mtu', 1280, 65_000),
    routes: reader.prefixes('routes'),
    sourceCheck: reader.boolean('source_check', true),
    glean: reader.boolean('glean', true),
    mapResolvers: reader.addresses('map_resolvers'),
    mapServers: reader.tables('map_server', (r) => ({
      address: r.address('address'),
      ...readKey(r),
      proxyReply: r.boolean('proxy_reply', false),
    })),
    database: reader.tables('database', (r) => {
      const own = r.tables('rlocs', (entry) => {
        const value = remote(entry);
        const known = rlocs.find((rloc) => rloc.address === value.address);
        if (value.address !== '' && known === undefined) {
          check.fail(
            entry.key('address'),
            `${value.address} is no RLOC of this host; expected the address of an [[rloc]]`,
          );
        }
        return { ...known, ...value };
      });
      return {
        eid: r.prefix('eid'),
        iid: r.integer('instance_id', 0, MAX_IID, iid),
        ttlSeconds: r.integer('ttl_seconds', 60, 0x7fffffff, 900),
        rlocs: r.has('rlocs') ? own : rlocs,
      };
    }),
    mappings: reader.tables('mapping', (r) => {
      const mapping = {
        eid: r.prefix('eid'),
        iid: r.integer('instance_id', 0, MAX_IID, iid),
        rlocs: r.tables('rlocs', remote),
      };
      if (mapping.rlocs.length === 0 && !r.has('rlocs')) {
        check.fail(r.key('rlocs'), 'missing; expected an array like [{ address = "203.0.113.130" }]');
      }
      return mapping;
    }),
    requestTimeoutMs: reader.integer('request_timeout_ms', 10, 60_000, 500),
    requestRetries: reader.integer('request_retries', 0, 16, 4),
    registerIntervalSeconds: reader.integer('register_interval_seconds', 1, 3600, 60),
    probe: {
      intervalMs: probe.integer('interval_ms', 50, 3_600_000, 1000),
      timeoutMs: probe.integer('timeout_ms', 10, 60_000, 600),
      failures: probe.integer('failures', 1, 100, 2),
    },
  };
  // IFNAMSIZ is 16 on both systems, the final NUL included.
  if (!/^[A-Za-z][A-Za-z0-9_.-]{0,14}$/.test(lisp.device)) {
    check.fail(
      reader.key('device'),
      `expected an interface name of at most 15 characters, found "${lisp.device}"`,
    );
  }
  probe.done();
  reader.done();
  return lisp;
}

function readIntercept(reader: Reader, check: Check): Config['intercept'] {
  const ports = reader.list('ports', 'ports or ranges like "1024-65535"', readPorts);
  const intercept: Config['intercept'] = {
    interfaces: reader.strings('interfaces'),
    ports: reader.has('ports') ? ports : [{ from: 1, to: 65535 }],
    include: reader.prefixes('include'),
    exclude: reader.prefixes('exclude'),
    source: reader.choice('source', ['nat', 'client'] as const, 'nat'),
    nat: reader.prefixes('nat'),
    holdMs: reader.integer('hold_ms', 0, 60_000, 1500),
    holdMax: reader.integer('hold_max', 0, 1_000_000, 1024),
  };
  const families = new Set<number>();
  intercept.nat.forEach((prefix, index) => {
    const family = addressFamily(prefix);
    if (families.has(family))
      check.fail(
        reader.key(`nat[${index}]`),
        `a second IPv${family} prefix; expected at most one per address family`,
      );
    families.add(family);
  });
  if (reader.has('ports') && Array.isArray(ports) && ports.length === 0 && check.problems.length === 0) {
    check.fail(reader.key('ports'), 'expected at least one port or range like "1024-65535"');
  }
  reader.done();
  return intercept;
}

function readMptcp(reader: Reader): Config['mptcp'] {
  const mptcp = {
    maxSubflows: reader.integer('max_subflows', 1, 8, 4),
    connectTimeoutMs: reader.integer('connect_timeout_ms', 100, 300_000, 10_000),
    congestionControl: reader.string('congestion_control', 'the name of a congestion control', 'cubic'),
    notSentLowat: reader.integer('notsent_lowat', 0, 0x7fffffff, 262_144),
  };
  reader.done();
  return mptcp;
}

function readRelay(reader: Reader): Config['relay'] {
  const relay = {
    idleTimeoutSeconds: reader.integer('idle_timeout_seconds', 1, 604_800, 7200),
    halfOpenTimeoutSeconds: reader.integer('half_open_timeout_seconds', 1, 604_800, 300),
    keepaliveSeconds: reader.integer('keepalive_seconds', 0, 32_767, 60),
    drainSeconds: reader.integer('drain_seconds', 0, 3600, 10),
    threads: reader.integer('threads', 1, 64, 2),
  };
  reader.done();
  return relay;
}

function readMapServer(reader: Reader): Config['mapServer'] {
  const mapServer = {
    addresses: reader.addresses('addresses'),
    sites: reader.tables('site', (site) => ({
      name: site.string('name', "the site's name"),
      ...readKey(site),
      eids: site.tables('eids', (eid) => ({
        prefix: eid.prefix('prefix'),
        iid: eid.integer('iid', 0, MAX_IID, 0),
        acceptMoreSpecifics: eid.boolean('accept_more_specifics', false),
      })),
    })),
  };
  reader.done();
  return mapServer;
}

/** What only the whole file can tell: a role without what it needs. */
function checkRoles(config: Config, check: Check): void {
  const has = (role: Role): boolean => config.roles.includes(role);
  if (has('access') && has('data-centre')) {
    check.fail(
      'roles',
      'expected "access" or "data-centre", not both: one daemon intercepts in one direction (servers that speak MPTCP need no "data-centre"; for others it runs on a host of its own, between this one and them)',
    );
  }
  for (const role of ['access', 'xtr'] as const) {
    if (has(role) && config.rlocs.length === 0)
      check.fail('rloc', `missing; the role "${role}" needs at least one [[rloc]]`);
  }
  if (has('map-server') && config.mapServer.addresses.length === 0) {
    check.fail('map_server.addresses', 'missing; the role "map-server" needs the addresses to answer on');
  }
  if (has('access') && config.intercept.source === 'nat' && config.intercept.nat.length === 0) {
    check.fail(
      'intercept.nat',
      'missing; source = "nat" needs the gateway\'s own EID prefix, e.g. ["192.0.2.0/28"]',
    );
  }
  if (has('access') && config.intercept.source === 'nat' && config.lisp.mapServers.length > 0) {
    config.intercept.nat.forEach((prefix, index) => {
      if (prefix === '' || config.lisp.database.some(({ eid }) => eid !== '' && prefixContains(eid, prefix)))
        return;
      check.warn(
        `intercept.nat[${index}]`,
        `${prefix} is in no [[lisp.database]] entry: it is not registered, so answers may not find this gateway`,
      );
    });
  }
  if (has('access') && config.lisp.mapResolvers.length === 0 && config.lisp.mappings.length === 0) {
    check.warn(
      'lisp.map_resolvers',
      'no map-resolver and no static mapping: every destination will be passed by',
    );
  }
  if (has('map-server') && config.mapServer.sites.length === 0) {
    check.warn('map_server.site', 'no site is configured: nobody may register');
  }
}
