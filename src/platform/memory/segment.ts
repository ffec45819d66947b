// SPDX-License-Identifier: BSD-2-Clause

/**
 * What simulated hosts say to each other: IP packets with a TCP header, so that a data plane can treat them as such, and in
 * front of the payload a block of 16 octets in the place of the MPTCP options.
 *
 *   IPv4 (20) or IPv6 (40) | TCP (20) | kind 1, flags 1, zero 2, token 4, data sequence number 8 | payload
 */
import { addressBytes, addressFromBytes } from '../../lisp/prefix.js';
import type { Flow } from '../platform.js';

export const KINDS = ['syn', 'syn-ack', 'data', 'ack', 'remove', 'reset', 'reset-subflow'] as const;
export type SegmentKind = (typeof KINDS)[number];

export interface Segment {
  /** From `local` to `remote`. */
  flow: Flow;
  kind: SegmentKind;
  /** MP_CAPABLE. */
  capable: boolean;
  /** MP_JOIN. */
  join: boolean;
  backup: boolean;
  /** The last octet before this sequence number was the last one of all. */
  fin: boolean;
  token: number;
  dsn: number;
  payload: Uint8Array;
}

const TCP = 6;
const BLOCK = 16;
export const SEGMENT_OVERHEAD = { 4: 20 + 20 + BLOCK, 6: 40 + 20 + BLOCK } as const;
const TCP_FLAGS: Record<SegmentKind, number> = {
  syn: 0x02,
  'syn-ack': 0x12,
  data: 0x18,
  ack: 0x10,
  remove: 0x10,
  reset: 0x14,
  'reset-subflow': 0x14,
};

export function encodeSegment(segment: Segment): Uint8Array {
  const { flow, payload } = segment;
  const source = addressBytes(flow.local.address);
  const destination = addressBytes(flow.remote.address);
  const ip = source.length === 4 ? 20 : 40;
  const total = ip + 20 + BLOCK + payload.length;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  if (ip === 20) {
    view.setUint8(0, 0x45);
    view.setUint16(2, total);
    view.setUint16(6, 0x4000);
    view.setUint8(8, 64);
    view.setUint8(9, TCP);
    bytes.set(source, 12);
    bytes.set(destination, 16);
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    view.setUint16(10, ~sum & 0xffff);
  } else {
    view.setUint8(0, 0x60);
    view.setUint16(4, total - 40);
    view.setUint8(6, TCP);
    view.setUint8(7, 64);
    bytes.set(source, 8);
    bytes.set(destination, 24);
  }
  view.setUint16(ip, flow.local.port);
  view.setUint16(ip + 2, flow.remote.port);
  view.setUint32(ip + 4, segment.dsn >>> 0);
  view.setUint8(ip + 12, 0x50);
  view.setUint8(ip + 13, TCP_FLAGS[segment.kind] | (segment.fin ? 0x01 : 0));
  view.setUint16(ip + 14, 0xffff);
  const block = ip + 20;
  view.setUint8(block, KINDS.indexOf(segment.kind));
  view.setUint8(
    block + 1,
    (segment.capable ? 1 : 0) | (segment.join ? 2 : 0) | (segment.fin ? 4 : 0) | (segment.backup ? 8 : 0),
  );
  view.setUint32(block + 4, segment.token);
  view.setBigUint64(block + 8, BigInt(segment.dsn));
  bytes.set(payload, block + BLOCK);
  return bytes;
}

/** undefined: nothing of ours. */
export function decodeSegment(bytes: Uint8Array): Segment | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  const ip = version === 4 ? 20 : 40;
  const block = ip + 20;
  if ((version !== 4 && version !== 6) || bytes.length < block + BLOCK) return undefined;
  if (bytes[version === 4 ? 9 : 6] !== TCP) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KINDS[view.getUint8(block)];
  if (kind === undefined) return undefined;
  const [source, destination] =
    version === 4
      ? [bytes.subarray(12, 16), bytes.subarray(16, 20)]
      : [bytes.subarray(8, 24), bytes.subarray(24, 40)];
  const flags = view.getUint8(block + 1);
  return {
    flow: {
      local: { address: addressFromBytes(source), port: view.getUint16(ip) },
      remote: { address: addressFromBytes(destination), port: view.getUint16(ip + 2) },
    },
    kind,
    capable: (flags & 1) !== 0,
    join: (flags & 2) !== 0,
    fin: (flags & 4) !== 0,
    backup: (flags & 8) !== 0,
    token: view.getUint32(block + 4),
    dsn: Number(view.getBigUint64(block + 8)),
    payload: bytes.subarray(block + BLOCK),
  };
}
