// SPDX-License-Identifier: BSD-2-Clause

/**
 * What the unprivileged daemon may ask of its privileged parent, and the answers. One JSON value per datagram of a
 * SOCK_SEQPACKET socket pair; descriptors travel beside it (SCM_RIGHTS). The guard believes nothing: `parseRequest`
 * checks the shape, HostNetwork checks names, prefixes and numbers.
 */
import type {
  BypassEntry,
  DeviceSettings,
  InterceptionRequest,
  ListenRequest,
  RlocRoute,
  TunRequest,
} from '../platform/linux/host-network.js';

import type { LispPrograms } from '../platform/linux/lisp-programs.js';
import { parseFreeBsdCall, type FreeBsdCall } from './freebsd.js';

/** A UNIX socket the daemon listens on, made by the guard so that it can be root:group. */
export interface UnixListenRequest {
  path: string;
  mode: number;
  group?: string;
}

export type GuardRequest =
  | { type: 'open-tun'; request: TunRequest }
  | { type: 'set-device'; device: string; settings: DeviceSettings }
  | { type: 'set-local-prefixes'; prefixes: string[] }
  | { type: 'set-rloc-routes'; rlocs: RlocRoute[] }
  | { type: 'set-interception'; request: InterceptionRequest | 'delivery-only' | 'none' }
  | { type: 'add-bypass'; prefix: string; ttlSeconds: number }
  | { type: 'remove-bypass'; prefix: string }
  | { type: 'list-bypass' }
  | { type: 'listen'; request: ListenRequest }
  | { type: 'listen-unix'; request: UnixListenRequest }
  | { type: 'set-sysctl'; name: string; value: string }
  | { type: 'load-lisp-programs' }
  | { type: 'freebsd'; call: FreeBsdCall }
  | { type: 'clean'; device?: string }
  | { type: 'close' };

export type GuardCall = GuardRequest & { id: number };

/** As LispPrograms, but for the descriptors: these are places in the list that comes with the message. */
export type PassedPrograms = LispPrograms;

/** Descriptors travel beside the message, in the order in which they are named. */
export function packPrograms({ maps, programs }: LispPrograms): {
  result: PassedPrograms;
  descriptors: number[];
} {
  const descriptors: number[] = [];
  const place = (descriptor: number): number => descriptors.push(descriptor) - 1;
  const result: PassedPrograms = { maps: {}, programs: {} };
  for (const [name, map] of Object.entries(maps))
    result.maps[name] = { ...map, descriptor: place(map.descriptor) };
  for (const [name, descriptor] of Object.entries(programs)) result.programs[name] = place(descriptor);
  return { result, descriptors };
}

/** @throws InvalidMessage when a descriptor that is named did not come. */
export function unpackPrograms({ maps, programs }: PassedPrograms, descriptors: number[]): LispPrograms {
  const at = (place: number): number => {
    const descriptor = descriptors[place];
    if (descriptor === undefined) throw new InvalidMessage('a descriptor of the eBPF programs is missing');
    return descriptor;
  };
  const loaded: LispPrograms = { maps: {}, programs: {} };
  for (const [name, map] of Object.entries(maps))
    loaded.maps[name] = { ...map, descriptor: at(map.descriptor) };
  for (const [name, place] of Object.entries(programs)) loaded.programs[name] = at(place);
  return loaded;
}

export type GuardAnswer =
  | { id: number; result?: string | { device: string } | BypassEntry[] | PassedPrograms }
  | { id: number; error: { message: string; code: string } };

// ---------------------------------------------------------------- checks

/** A message that is none of ours. */
export class InvalidMessage extends Error {}

type Fields = Record<string, unknown>;

function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidMessage(`${what} is not an object`);
  return value as Fields;
}

function take<T>(from: Fields, name: string, is: (value: unknown) => value is T): T {
  const value = Object.hasOwn(from, name) ? from[name] : undefined;
  if (!is(value)) throw new InvalidMessage(`${name} is missing or of the wrong type`);
  return value;
}

const isString = (value: unknown): value is string => typeof value === 'string' && value.length <= 4096;
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
const isStrings = (value: unknown): value is string[] => Array.isArray(value) && value.every(isString);
const optional =
  <T>(is: (value: unknown) => value is T) =>
  (value: unknown): value is T | undefined =>
    value === undefined || is(value);

const isRange = (value: unknown): value is { from: number; to: number } =>
  typeof value === 'object' &&
  value !== null &&
  isNumber((value as Fields)['from']) &&
  isNumber((value as Fields)['to']);
const isRanges = (value: unknown): value is { from: number; to: number }[] =>
  Array.isArray(value) && value.every(isRange);
const isFamily = (value: unknown): value is 4 | 6 => value === 4 || value === 6;
const isProtocol = (value: unknown): value is 'tcp' | 'mptcp' => value === 'tcp' || value === 'mptcp';

function interception(value: unknown): InterceptionRequest | 'delivery-only' | 'none' {
  if (value === 'delivery-only' || value === 'none') return value;
  const request = fields(value, 'request');
  const { listeners } = request;
  const ports = (from: Fields): { v4: number; v6: number } => ({
    v4: take(from, 'v4', isNumber),
    v6: take(from, 'v6', isNumber),
  });
  return {
    interfaces: take(request, 'interfaces', isStrings),
    ports: take(request, 'ports', isRanges).map(({ from, to }) => ({ from, to })),
    include: take(request, 'include', isStrings),
    exclude: take(request, 'exclude', isStrings),
    listeners: listeners === 'original' ? listeners : ports(fields(listeners, 'listeners')),
  };
}

function rloc(value: unknown): RlocRoute {
  const from = fields(value, 'an RLOC');
  return {
    address: take(from, 'address', isString),
    interface: take(from, 'interface', optional(isString)),
    gateway: take(from, 'gateway', optional(isString)),
  };
}

/** Shape only, built anew from what was expected: nothing that was not asked for passes. @throws InvalidMessage */
export function parseCall(value: unknown): GuardCall {
  const message = fields(value, 'the message');
  const id = take(message, 'id', isNumber);
  const type = take(message, 'type', isString) as GuardRequest['type'];
  const request = (): Fields => fields(message['request'], 'request');
  switch (type) {
    case 'open-tun': {
      const from = request();
      return {
        id,
        type,
        request: {
          device: take(from, 'device', isString),
          queues: take(from, 'queues', isNumber),
          vnetHeader: take(from, 'vnetHeader', isBoolean),
        },
      };
    }
    case 'set-device': {
      const settings = fields(message['settings'], 'settings');
      return {
        id,
        type,
        device: take(message, 'device', isString),
        settings: {
          mtu: take(settings, 'mtu', optional(isNumber)),
          routes: take(settings, 'routes', isStrings),
          markedTraffic: take(settings, 'markedTraffic', isBoolean),
        },
      };
    }
    case 'set-local-prefixes':
      return { id, type, prefixes: take(message, 'prefixes', isStrings) };
    case 'set-rloc-routes': {
      const rlocs = take(message, 'rlocs', (list): list is unknown[] => Array.isArray(list));
      return { id, type, rlocs: rlocs.map(rloc) };
    }
    case 'set-interception':
      return { id, type, request: interception(message['request']) };
    case 'add-bypass':
      return {
        id,
        type,
        prefix: take(message, 'prefix', isString),
        ttlSeconds: take(message, 'ttlSeconds', isNumber),
      };
    case 'remove-bypass':
      return { id, type, prefix: take(message, 'prefix', isString) };
    case 'listen': {
      const from = request();
      return {
        id,
        type,
        request: {
          family: take(from, 'family', isFamily),
          port: take(from, 'port', isNumber),
          protocol: take(from, 'protocol', isProtocol),
          backlog: take(from, 'backlog', optional(isNumber)),
        },
      };
    }
    case 'listen-unix': {
      const from = request();
      return {
        id,
        type,
        request: {
          path: take(from, 'path', isString),
          mode: take(from, 'mode', isNumber),
          group: take(from, 'group', optional(isString)),
        },
      };
    }
    case 'set-sysctl':
      return { id, type, name: take(message, 'name', isString), value: take(message, 'value', isString) };
    case 'freebsd':
      return { id, type, call: parseFreeBsdCall(message['call']) };
    case 'clean':
      return { id, type, device: take(message, 'device', optional(isString)) };
    case 'load-lisp-programs':
    case 'list-bypass':
    case 'close':
      return { id, type };
    default:
      throw new InvalidMessage(`there is no request ${JSON.stringify(type)}`);
  }
}
