// SPDX-License-Identifier: BSD-2-Clause

/**
 * What the guard does for a daemon on FreeBSD. As on Linux it believes nothing: each call is built anew from what was
 * expected of it, and the host checks names, prefixes and numbers before any of them gets near a command.
 */
import type { DeviceName, FreeBsdHost } from '../platform/freebsd/host.js';
import type { DeviceSettings } from '../platform/freebsd/lisp-device.js';
import {
  checkInterface,
  checkPrefix,
  type AnchorSettings,
  type Interception,
} from '../platform/freebsd/pf-rules.js';
import { PlatformError } from '../platform/platform.js';

export type FreeBsdCall =
  | { call: 'open'; what: DeviceName }
  | { call: 'create'; device: string }
  | { call: 'configure'; device: string; settings: DeviceSettings }
  | { call: 'destroy'; device: string }
  | { call: 'set-rloc-routes'; rlocs: AnchorSettings['rlocs'] }
  | { call: 'set-local-prefixes'; prefixes: string[] }
  | { call: 'set-client-prefixes'; prefixes: string[] }
  | { call: 'open-transparent'; family: 4 | 6; count: number; mptcp: boolean }
  | { call: 'set-interception'; interception?: Interception }
  | { call: 'add-bypass'; prefix: string }
  | { call: 'remove-bypass'; prefix: string }
  | { call: 'set-switch'; name: string; value: number };

/** What the daemon may have opened for it. */
const DEVICES: readonly DeviceName[] = ['divert', 'tproxy', 'lisp', 'mptcp', 'pf'];

type Fields = Record<string, unknown>;
const bad = (what: string): PlatformError =>
  new PlatformError(`${what} is missing or of the wrong type`, 'EINVAL');

const text = (from: Fields, name: string): string => {
  const value = from[name];
  if (typeof value !== 'string' || value.length > 256) throw bad(name);
  return value;
};
const number = (from: Fields, name: string): number => {
  const value = from[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw bad(name);
  return value;
};
const list = <T>(from: Fields, name: string, each: (value: unknown) => T): T[] => {
  const value = from[name];
  if (!Array.isArray(value) || value.length > 65_536) throw bad(name);
  return value.map(each);
};
const fields = (value: unknown): Fields => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('the call');
  return value as Fields;
};
const prefix = (value: unknown): string => {
  if (typeof value !== 'string') throw bad('prefix');
  return checkPrefix(value);
};
const device = (from: Fields): string => checkInterface(text(from, 'device'));

function interception(value: unknown): Interception {
  const from = fields(value);
  if (typeof from['divert'] !== 'boolean') throw bad('divert');
  if (typeof from['servers'] !== 'boolean') throw bad('servers');
  return {
    interfaces: list(from, 'interfaces', (name) => checkInterface(String(name))),
    ports: list(from, 'ports', (range) => ({
      from: number(fields(range), 'from'),
      to: number(fields(range), 'to'),
    })),
    include: list(from, 'include', prefix),
    exclude: list(from, 'exclude', prefix),
    divert: from['divert'],
    servers: from['servers'],
  };
}

/** @throws PlatformError EINVAL */
export function parseFreeBsdCall(value: unknown): FreeBsdCall {
  const from = fields(value);
  const call = text(from, 'call') as FreeBsdCall['call'];
  switch (call) {
    case 'open': {
      const what = text(from, 'what');
      const known = DEVICES.find((name) => name === what);
      if (known === undefined) throw bad('what');
      return { call, what: known };
    }
    case 'create':
    case 'destroy':
      return { call, device: device(from) };
    case 'configure': {
      const settings = fields(from['settings']);
      return {
        call,
        device: device(from),
        settings: {
          mtu: number(settings, 'mtu'),
          routes: list(settings, 'routes', prefix),
          previous: list(settings, 'previous', prefix),
        },
      };
    }
    case 'set-rloc-routes':
      return {
        call,
        rlocs: list(from, 'rlocs', (entry) => {
          const rloc = fields(entry);
          return {
            address: text(rloc, 'address'),
            ...(rloc['interface'] !== undefined && { interface: text(rloc, 'interface') }),
            ...(rloc['gateway'] !== undefined && { gateway: text(rloc, 'gateway') }),
          };
        }),
      };
    case 'set-local-prefixes':
    case 'set-client-prefixes':
      return { call, prefixes: list(from, 'prefixes', prefix) };
    case 'open-transparent': {
      const family = number(from, 'family');
      if (family !== 4 && family !== 6) throw bad('family');
      if (typeof from['mptcp'] !== 'boolean') throw bad('mptcp');
      return { call, family, count: number(from, 'count'), mptcp: from['mptcp'] };
    }
    case 'set-interception':
      return from['interception'] === undefined
        ? { call }
        : { call, interception: interception(from['interception']) };
    case 'add-bypass':
    case 'remove-bypass':
      return { call, prefix: prefix(from['prefix']) };
    case 'set-switch':
      return { call, name: text(from, 'name'), value: number(from, 'value') };
    default:
      throw new PlatformError(`there is no call ${JSON.stringify(call)}`, 'EINVAL');
  }
}

/** @returns the descriptors that were opened, or the name of the interface that was made. */
export async function actFreeBsd(
  host: FreeBsdHost,
  devices: Set<string>,
  call: FreeBsdCall,
): Promise<{ device?: string; descriptors?: number[] }> {
  const ours = (name: string): string => {
    if (!devices.has(name)) throw new PlatformError(`${name} is no interface the daemon has made`, 'EACCES');
    return name;
  };
  switch (call.call) {
    case 'open':
      return { descriptors: [await host.open(call.what)] };
    case 'open-transparent':
      return { descriptors: await host.openTransparent(call.family, call.count, call.mptcp) };
    case 'create': {
      const made = await host.create(call.device);
      devices.add(made);
      return { device: made };
    }
    case 'configure':
      await host.configure(ours(call.device), call.settings);
      return {};
    case 'destroy':
      await host.destroy(ours(call.device));
      devices.delete(call.device);
      return {};
    case 'set-rloc-routes':
      await host.setRlocRoutes(call.rlocs);
      return {};
    case 'set-local-prefixes':
      await host.setLocalPrefixes(call.prefixes);
      return {};
    case 'set-client-prefixes':
      await host.setClientPrefixes(call.prefixes);
      return {};
    case 'set-interception':
      await host.setInterception(call.interception);
      return {};
    case 'add-bypass':
      await host.addBypass(call.prefix);
      return {};
    case 'remove-bypass':
      await host.removeBypass(call.prefix);
      return {};
    case 'set-switch':
      await host.setSwitch(call.name, call.value);
      return {};
  }
}

/** The daemon's side: a host that asks its parent. */
export class FreeBsdGuardHost implements FreeBsdHost {
  constructor(
    private readonly ask: (call: FreeBsdCall) => Promise<{ result?: unknown; descriptors: number[] }>,
    private readonly guard: { clean(device?: string): Promise<void>; close(): Promise<void> },
  ) {}

  async open(what: DeviceName): Promise<number> {
    const [descriptor] = (await this.ask({ call: 'open', what })).descriptors;
    if (descriptor === undefined)
      throw new PlatformError(`the guard's answer had no descriptor of ${what}`, 'EPROTO');
    return descriptor;
  }
  async create(name: string): Promise<string> {
    const { result } = await this.ask({ call: 'create', device: name });
    return (result as { device: string }).device;
  }
  async configure(name: string, settings: DeviceSettings): Promise<void> {
    await this.ask({ call: 'configure', device: name, settings });
  }
  async destroy(name: string): Promise<void> {
    await this.ask({ call: 'destroy', device: name });
  }
  async setRlocRoutes(rlocs: AnchorSettings['rlocs']): Promise<void> {
    await this.ask({ call: 'set-rloc-routes', rlocs });
  }
  async setLocalPrefixes(prefixes: string[]): Promise<void> {
    await this.ask({ call: 'set-local-prefixes', prefixes });
  }
  async setClientPrefixes(prefixes: string[]): Promise<void> {
    await this.ask({ call: 'set-client-prefixes', prefixes });
  }
  async openTransparent(family: 4 | 6, count: number, mptcp: boolean): Promise<number[]> {
    return (await this.ask({ call: 'open-transparent', family, count, mptcp })).descriptors;
  }
  async setInterception(wanted: Interception | undefined): Promise<void> {
    await this.ask({ call: 'set-interception', ...(wanted && { interception: wanted }) });
  }
  async addBypass(wanted: string): Promise<void> {
    await this.ask({ call: 'add-bypass', prefix: wanted });
  }
  async removeBypass(wanted: string): Promise<void> {
    await this.ask({ call: 'remove-bypass', prefix: wanted });
  }
  async setSwitch(name: string, value: number): Promise<void> {
    await this.ask({ call: 'set-switch', name, value });
  }
  clean(name?: string): Promise<void> {
    return this.guard.clean(name);
  }
  close(): Promise<void> {
    return this.guard.close();
  }
}
