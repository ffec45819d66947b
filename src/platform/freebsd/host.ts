// SPDX-License-Identifier: BSD-2-Clause

/**
 * The one place that changes this host: pf's anchor, the LISP device with its addresses and routes, modules, devices that need
 * privilege to be opened. What it made it takes back; `clean()` takes back what a killed predecessor could not.
 *
 *   daemon unsplit:  interceptor, plane, connector -> LocalFreeBsdHost -> pfctl, ifconfig, route, kldload, /dev
 *   daemon split:    interceptor, plane, connector -> guard's client -> guard -> LocalFreeBsdHost
 */
import { addressAt, usableAddresses } from '../../mptcp/ports.js';
import { PlatformError } from '../platform.js';
import {
  CommandLispDevice,
  type DeviceSettings,
  type LispDevice,
  loadModule,
  type Run,
  runCommand,
} from './lisp-device.js';
import {
  ANCHOR,
  anchorRules,
  BYPASS_TABLE,
  checkInterface,
  checkPrefix,
  DIVERT_PORT,
  type AnchorSettings,
  type Interception,
} from './pf-rules.js';

/** Routing table whose default route is the LISP device: sockets of ours use it whatever the ordinary one says. */
export const LISP_FIB = 1;
/** Addresses of a prefix the gateway makes its own; each has 55,000 ports. */
export const MAX_LOCAL_ADDRESSES = 16;

export type DeviceName = 'divert' | 'tproxy' | 'lisp' | 'mptcp' | 'pf';
/**
 * What the LISP device is called where it has no EID of its own: a route into it needs an address, and no packet of ours has it.
 * The dummy address of RFC 7600, and one of the discard prefix of RFC 6666.
 */
const UNNUMBERED = { '-inet': '192.0.0.8', '-inet6': '100::1' } as const;
/** Sockets handed over at a time. */
const MAX_SOCKETS = 64;
/** Switches of lisp(4) the daemon may set. */
const SWITCHES = ['underlay_mtu', 'source_check', 'glean'];

/** `set…` operations replace what an earlier call of the same name made and may be repeated (reload). */
export interface FreeBsdHost extends LispDevice {
  /** A divert socket, or the module's device opened for writing. */
  open(what: DeviceName): Promise<number>;
  setRlocRoutes(rlocs: AnchorSettings['rlocs']): Promise<void>;
  /** EID prefixes this host answers for; addressed on the LISP device once that is there. */
  setLocalPrefixes(prefixes: string[]): Promise<void>;
  /** EID prefixes of clients in whose name this host connects. */
  setClientPrefixes(prefixes: string[]): Promise<void>;
  /** Sockets of TCP, or MPTCP, that can be bound to addresses that are not this host's. */
  openTransparent(family: 4 | 6, count: number, mptcp: boolean): Promise<number[]>;
  /** undefined: no rules about clients. */
  setInterception(interception: Interception | undefined): Promise<void>;
  addBypass(prefix: string): Promise<void>;
  removeBypass(prefix: string): Promise<void>;
  /** net.inet.lisp.<name> */
  setSwitch(name: string, value: number): Promise<void>;
  clean(device?: string): Promise<void>;
  close(): Promise<void>;
}

/** The addresses of a prefix that the gateway connects from. */
export function localAddresses(prefix: string): string[] {
  const { base, first, count } = usableAddresses(checkPrefix(prefix));
  return Array.from({ length: Math.min(count, MAX_LOCAL_ADDRESSES) }, (_, n) => addressAt(base, first + n));
}

/** What opens descriptors: the addon, or an agent of it. */
export interface Openers {
  divert(port: number): number;
  device(path: string): number;
  transparent(family: 4 | 6, mptcp: boolean): number;
  /** Empties an anchor's rules through a descriptor of /dev/pf. */
  flush(pf: number, anchor: string): void;
}

const family = (address: string): '-inet' | '-inet6' => (address.includes(':') ? '-inet6' : '-inet');

export class LocalFreeBsdHost implements FreeBsdHost {
  readonly #device: CommandLispDevice;
  #deviceName: string | undefined;
  /** Kept: it is needed when there is no time. */
  #pf: number | undefined;
  #addresses: string[] = [];
  #routes: string[] = [];
  #fibRoutes: ('-inet' | '-inet6')[] = [];
  #settings: AnchorSettings = {
    device: 'lisp0',
    localPrefixes: [],
    clientPrefixes: [],
    rlocs: [],
    bypass: [],
  };
  #bypass = new Set<string>();
  #loaded = false;

  constructor(
    private readonly openers: Openers,
    private readonly run: Run = runCommand,
    private readonly warn: (message: string) => void = () => undefined,
  ) {
    this.#device = new CommandLispDevice(run);
  }

  // ---------------------------------------------------------------- descriptors

  async open(what: DeviceName): Promise<number> {
    switch (what) {
      case 'divert':
        await loadModule(this.run, 'pf');
        await loadModule(this.run, 'ipdivert');
        return this.openers.divert(DIVERT_PORT);
      case 'pf':
      case 'tproxy':
      case 'lisp':
      case 'mptcp':
        await loadModule(this.run, what);
        return this.openers.device(`/dev/${what}`);
    }
  }

  async openTransparent(family: 4 | 6, count: number, mptcp: boolean): Promise<number[]> {
    if (!Number.isInteger(count) || count < 1 || count > MAX_SOCKETS)
      throw new PlatformError(`${count} sockets are not handed over at once: 1 to ${MAX_SOCKETS}`, 'EINVAL');
    return Array.from({ length: count }, () => this.openers.transparent(family, mptcp));
  }

  // ---------------------------------------------------------------- the LISP device

  async create(name: string): Promise<string> {
    const device = await this.#device.create(name);
    this.#deviceName = device;
    this.#settings = { ...this.#settings, device };
    return device;
  }

  async configure(name: string, settings: DeviceSettings): Promise<void> {
    this.#routes = settings.routes;
    await this.#address(name);
    await this.#device.configure(name, settings);
    await this.#routeFib(name);
    await this.#load();
  }

  async destroy(name: string): Promise<void> {
    this.#deviceName = undefined;
    this.#addresses = [];
    this.#routes = [];
    this.#fibRoutes = [];
    // Addresses and routes go with it.
    await this.#device.destroy(name);
  }

  async setLocalPrefixes(prefixes: string[]): Promise<void> {
    this.#settings = { ...this.#settings, localPrefixes: prefixes.map(checkPrefix) };
    if (this.#deviceName === undefined) return;
    await this.#address(this.#deviceName);
    await this.#routeFib(this.#deviceName);
    await this.#load();
  }

  async setClientPrefixes(prefixes: string[]): Promise<void> {
    this.#settings = { ...this.#settings, clientPrefixes: prefixes.map(checkPrefix) };
    if (this.#deviceName === undefined) return;
    await this.#address(this.#deviceName);
    await this.#routeFib(this.#deviceName);
    await this.#load();
  }

  async #address(device: string): Promise<void> {
    const { localPrefixes, clientPrefixes } = this.#settings;
    const wanted = [...new Set(localPrefixes.flatMap(localAddresses))];
    for (const each of new Set([...clientPrefixes, ...this.#routes].map(family)))
      if (!wanted.some((address) => family(address) === each)) wanted.push(UNNUMBERED[each]);
    for (const address of wanted) {
      if (this.#addresses.includes(address)) continue;
      const six = address.includes(':');
      await this.run('/sbin/ifconfig', [
        device,
        ...(six ? ['inet6', address, 'prefixlen', '128', 'no_dad'] : ['inet', `${address}/32`]),
        'alias',
      ]);
      this.#addresses.push(address);
    }
    for (const address of this.#addresses.filter((old) => !wanted.includes(old)))
      await this.run('/sbin/ifconfig', [device, address.includes(':') ? 'inet6' : 'inet', address, '-alias']);
    this.#addresses = wanted;
  }

  /** Sockets of ours leave by the LISP device; everybody else by the ordinary table. */
  async #routeFib(device: string): Promise<void> {
    const { localPrefixes, clientPrefixes } = this.#settings;
    const wanted = [...new Set([...localPrefixes, ...clientPrefixes].map(family))];
    if (wanted.length === 0) return;
    const fibs = Number((await this.run('/sbin/sysctl', ['-n', 'net.fibs'])).trim());
    if (fibs <= LISP_FIB) await this.run('/sbin/sysctl', [`net.fibs=${LISP_FIB + 1}`]);
    for (const each of wanted) {
      if (this.#fibRoutes.includes(each)) continue;
      // One that a predecessor left leads to a device that is no more.
      await this.run('/sbin/route', ['-q', '-n', 'delete', each, '-fib', String(LISP_FIB), 'default']).catch(
        () => undefined,
      );
      await this.run('/sbin/route', [
        ...['-q', '-n', 'add', each, '-fib', String(LISP_FIB), 'default'],
        ...['-interface', device],
      ]);
      this.#fibRoutes.push(each);
    }
  }

  // ---------------------------------------------------------------- pf

  async setRlocRoutes(rlocs: AnchorSettings['rlocs']): Promise<void> {
    const settings = { ...this.#settings, rlocs };
    anchorRules(settings);
    this.#settings = settings;
    if (this.#loaded) await this.#load();
  }

  async setInterception(interception: Interception | undefined): Promise<void> {
    const settings: AnchorSettings = { ...this.#settings };
    delete settings.interception;
    if (interception) settings.interception = interception;
    anchorRules(settings);
    if (interception?.divert) await this.#needPf();
    const before = this.#settings;
    this.#settings = settings;
    try {
      await this.#load(true);
    } catch (error) {
      this.#settings = before;
      throw error;
    }
  }

  /** Without these no SYN would ever come, and nobody would know why. */
  async #needPf(): Promise<void> {
    const info = await this.run('/sbin/pfctl', ['-s', 'info']);
    if (!/Status: Enabled/.test(info))
      throw new PlatformError(
        'pf is not enabled: set pf_enable="YES" in /etc/rc.conf and start it (service pf start)',
        'ENOTCONN',
      );
    const rules = await this.run('/sbin/pfctl', ['-s', 'rules']);
    if (!hasAnchor(rules))
      throw new PlatformError(
        `pf.conf lacks the line: anchor "${ANCHOR}"  (add it before your own rules for the clients, then: service pf reload)`,
        'ENOENT',
      );
  }

  /** `must`: pf is needed; else it is enough to do it where there is pf. */
  async #load(must = false): Promise<void> {
    const text = anchorRules({ ...this.#settings, bypass: [...this.#bypass] });
    try {
      await this.run('/sbin/pfctl', ['-q', '-a', ANCHOR, '-f', '-'], text);
      this.#loaded = true;
    } catch (error) {
      if (must || this.#loaded) throw error;
      this.warn(`pf has no rules of ours: ${(error as Error).message}`);
    }
  }

  async addBypass(prefix: string): Promise<void> {
    await this.run('/sbin/pfctl', ['-q', '-a', ANCHOR, '-t', BYPASS_TABLE, '-T', 'add', checkPrefix(prefix)]);
    this.#bypass.add(prefix);
  }

  async removeBypass(prefix: string): Promise<void> {
    this.#bypass.delete(prefix);
    await this.run('/sbin/pfctl', [
      '-q',
      '-a',
      ANCHOR,
      '-t',
      BYPASS_TABLE,
      '-T',
      'delete',
      checkPrefix(prefix),
    ]);
  }

  async setSwitch(name: string, value: number): Promise<void> {
    if (!SWITCHES.includes(name) || !Number.isInteger(value))
      throw new PlatformError(`net.inet.lisp.${name}=${value} is not ours to set`, 'EINVAL');
    await this.run('/sbin/sysctl', [`net.inet.lisp.${name}=${value}`]);
  }

  // ---------------------------------------------------------------- the end

  async clean(device?: string): Promise<void> {
    await this.#flush();
    if (device === undefined) return;
    const interfaces = (await this.run('/sbin/ifconfig', ['-l'])).trim().split(/\s+/);
    if (interfaces.includes(checkInterface(device))) await this.#device.destroy(device);
  }

  /** The anchor with its tables; where there is no pf there is nothing to do. */
  async #flush(): Promise<void> {
    // First without starting a program: until the rules are gone, SYNs go to nobody.
    try {
      this.#pf ??= this.openers.device('/dev/pf');
      this.openers.flush(this.#pf, ANCHOR);
    } catch {
      // No pf, or nothing that pfctl would not say as well.
    }
    for (const what of ['rules', 'Tables'])
      await this.run('/sbin/pfctl', ['-q', '-a', ANCHOR, '-F', what]).catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#settings = {
      device: this.#settings.device,
      localPrefixes: [],
      clientPrefixes: [],
      rlocs: [],
      bypass: [],
    };
    this.#bypass.clear();
    this.#loaded = false;
    await this.#flush();
    if (this.#deviceName !== undefined)
      await this.destroy(this.#deviceName).catch((error: unknown) => this.warn((error as Error).message));
  }
}

/** Whether a loaded ruleset evaluates our anchor. */
export const hasAnchor = (rules: string): boolean =>
  rules.split('\n').some((line) => new RegExp(`^\\s*anchor "(${ANCHOR}|\\*)"`).test(line));
