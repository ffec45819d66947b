// SPDX-License-Identifier: BSD-2-Clause

/**
 * The kernel's userspace path manager (generic netlink family mptcp_pm, linux/mptcp.h) as typed messages. An address
 * with a port needs an Address ID of its own (RFC 8684 section 3.2); 0 is the first subflow's.
 */
import ipaddr from 'ipaddr.js';
import {
  type Attribute,
  decodeMessages,
  encodeRequest,
  listAttributes,
  type NetlinkMessage,
  readAttributes,
  readText,
  readU16,
  readU16Network,
  readU32,
  readU8,
  text,
  u16,
  u32,
  u8,
} from './netlink.js';

export const FAMILY_NAME = 'mptcp_pm';
export const EVENTS_GROUP = 'mptcp_pm_events';
const VERSION = 1;

const AF_INET = 2;
const AF_INET6 = 10;

// ---------------------------------------------------------------- finding the family

const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR = { familyId: 1, familyName: 2, groups: 7 } as const;
const CTRL_GROUP = { name: 1, id: 2 } as const;

export const encodeFamilyRequest = (name: string): Uint8Array =>
  encodeRequest(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, [text(CTRL_ATTR.familyName, name)]);

export interface GenericFamily {
  id: number;
  groups: Map<string, number>;
}

export function decodeFamily(datagrams: Uint8Array[]): GenericFamily | undefined {
  for (const message of datagrams.flatMap(decodeMessages)) {
    if (message.kind !== 'generic') continue;
    const attributes = readAttributes(message.payload);
    const id = readU16(attributes.get(CTRL_ATTR.familyId));
    if (id === undefined) continue;
    const groups = new Map<string, number>();
    for (const [, group] of listAttributes(attributes.get(CTRL_ATTR.groups) ?? new Uint8Array())) {
      const fields = readAttributes(group);
      const name = fields.get(CTRL_GROUP.name);
      const number = readU32(fields.get(CTRL_GROUP.id));
      if (name && number !== undefined) groups.set(readText(name), number);
    }
    return { id, groups };
  }
  return undefined;
}

// ---------------------------------------------------------------- commands

const COMMAND = {
  'set-flags': 7,
  announce: 8,
  remove: 9,
  'subflow-create': 10,
  'subflow-destroy': 11,
} as const;

const ATTR = { address: 1, token: 4, localId: 5, remoteAddress: 6 } as const;
const ADDR = { family: 1, id: 2, address4: 3, address6: 4, port: 5, flags: 6 } as const;
const FLAG_SIGNAL = 1;
const FLAG_BACKUP = 4;

export interface PmEndpoint {
  address: string;
  port: number;
}

export type PmCommand =
  | {
      command: 'subflow-create';
      token: number;
      local: PmEndpoint & { id: number };
      remote: PmEndpoint;
      backup?: boolean;
    }
  | { command: 'subflow-destroy'; token: number; local: PmEndpoint; remote: PmEndpoint }
  /** REMOVE_ADDR to the peer: it closes the subflows of that Address ID. */
  | { command: 'remove'; token: number; localId: number }
  | { command: 'announce'; token: number; local: PmEndpoint & { id: number } }
  /** MP_PRIO (RFC 8684 section 3.3.8). */
  | { command: 'set-flags'; token: number; local: PmEndpoint; remote: PmEndpoint; backup: boolean };

const addressBytes = (address: string): { family: number; bytes: Uint8Array } => {
  const parsed = ipaddr.parse(address);
  return {
    family: parsed.kind() === 'ipv6' ? AF_INET6 : AF_INET,
    bytes: Uint8Array.from(parsed.toByteArray()),
  };
};

/** Ports are in host order here, unlike in the events. */
function endpoint(type: number, end: PmEndpoint & { id?: number }, flags?: number): Attribute {
  const { family, bytes } = addressBytes(end.address);
  return {
    type,
    value: [
      u16(ADDR.family, family),
      ...(end.id === undefined ? [] : [u8(ADDR.id, end.id)]),
      { type: family === AF_INET6 ? ADDR.address6 : ADDR.address4, value: bytes },
      ...(end.port === 0 ? [] : [u16(ADDR.port, end.port)]),
      ...(flags === undefined ? [] : [u32(ADDR.flags, flags)]),
    ],
  };
}

export function encodeCommand(family: number, request: PmCommand): Uint8Array {
  const attributes: Attribute[] = [u32(ATTR.token, request.token)];
  switch (request.command) {
    case 'subflow-create':
      attributes.push(
        endpoint(ATTR.address, request.local, request.backup ? FLAG_BACKUP : undefined),
        endpoint(ATTR.remoteAddress, request.remote),
      );
      break;
    case 'subflow-destroy':
      attributes.push(endpoint(ATTR.address, request.local), endpoint(ATTR.remoteAddress, request.remote));
      break;
    case 'remove':
      attributes.push(u8(ATTR.localId, request.localId));
      break;
    case 'announce':
      attributes.push(endpoint(ATTR.address, request.local, FLAG_SIGNAL));
      break;
    case 'set-flags':
      attributes.push(
        endpoint(ATTR.address, request.local, request.backup ? FLAG_BACKUP : 0),
        endpoint(ATTR.remoteAddress, request.remote),
      );
      break;
  }
  return encodeRequest(family, COMMAND[request.command], VERSION, attributes);
}

/** How a command went: errno 0 is success. No acknowledgement at all counts as EPROTO (71). */
export function decodeOutcome(datagrams: Uint8Array[]): { errno: number; message?: string } {
  for (const message of datagrams.flatMap(decodeMessages))
    if (message.kind === 'error') return { errno: message.errno, message: message.message };
  return { errno: 71 };
}

// ---------------------------------------------------------------- events

const EVENT = {
  1: 'created',
  2: 'established',
  3: 'closed',
  6: 'announced',
  7: 'removed',
  10: 'subflow-established',
  11: 'subflow-closed',
  13: 'subflow-priority',
} as const;

const EVENT_ATTR = {
  token: 1,
  family: 2,
  localId: 3,
  remoteId: 4,
  source4: 5,
  source6: 6,
  destination4: 7,
  destination6: 8,
  sourcePort: 9,
  destinationPort: 10,
  backup: 11,
  error: 12,
  resetReason: 16,
  serverSide: 18,
} as const;

export interface PmEvent {
  event: (typeof EVENT)[keyof typeof EVENT];
  token: number;
  localId?: number;
  remoteId?: number;
  local?: PmEndpoint;
  remote?: PmEndpoint;
  backup?: boolean;
  /** errno of a subflow that closed. */
  error?: number;
  /** MP_TCPRST's reason code (RFC 8684 section 3.6). */
  resetReason?: number;
  /** This host is the one that was connected to. */
  serverSide?: boolean;
}

function eventEndpoint(
  attributes: Map<number, Uint8Array>,
  four: number,
  six: number,
  port: number,
): PmEndpoint | undefined {
  const bytes = attributes.get(four) ?? attributes.get(six);
  if (!bytes || (bytes.length !== 4 && bytes.length !== 16)) return undefined;
  const parsed = ipaddr.fromByteArray([...bytes]);
  const plain = parsed.kind() === 'ipv6' ? (parsed as ipaddr.IPv6) : undefined;
  const address = plain?.isIPv4MappedAddress()
    ? plain.toIPv4Address().toString()
    : (plain?.toRFC5952String() ?? parsed.toString());
  return { address, port: readU16Network(attributes.get(port)) ?? 0 };
}

function decodeEvent(message: NetlinkMessage): PmEvent | undefined {
  if (message.kind !== 'generic') return undefined;
  const event = EVENT[message.command as keyof typeof EVENT] as PmEvent['event'] | undefined;
  const attributes = readAttributes(message.payload);
  const token = readU32(attributes.get(EVENT_ATTR.token));
  if (event === undefined || token === undefined) return undefined;
  const decoded: PmEvent = { event, token };
  const localId = readU8(attributes.get(EVENT_ATTR.localId));
  const remoteId = readU8(attributes.get(EVENT_ATTR.remoteId));
  const local = eventEndpoint(attributes, EVENT_ATTR.source4, EVENT_ATTR.source6, EVENT_ATTR.sourcePort);
  const remote = eventEndpoint(
    attributes,
    EVENT_ATTR.destination4,
    EVENT_ATTR.destination6,
    EVENT_ATTR.destinationPort,
  );
  const backup = readU8(attributes.get(EVENT_ATTR.backup));
  const error = readU8(attributes.get(EVENT_ATTR.error));
  const resetReason = readU32(attributes.get(EVENT_ATTR.resetReason));
  const serverSide = readU8(attributes.get(EVENT_ATTR.serverSide));
  if (localId !== undefined) decoded.localId = localId;
  if (remoteId !== undefined) decoded.remoteId = remoteId;
  if (local) decoded.local = local;
  if (remote) decoded.remote = remote;
  if (backup !== undefined) decoded.backup = backup !== 0;
  if (error !== undefined && error !== 0) decoded.error = error;
  if (resetReason !== undefined) decoded.resetReason = resetReason;
  if (serverSide !== undefined) decoded.serverSide = serverSide !== 0;
  return decoded;
}

/** Events of one datagram from the events group; those unknown are passed over. */
export function decodeEvents(datagram: Uint8Array): PmEvent[] {
  return decodeMessages(datagram)
    .map(decodeEvent)
    .filter((event) => event !== undefined);
}
