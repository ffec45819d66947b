// SPDX-License-Identifier: BSD-2-Clause

/**
 * The eBPF plane's maps as octets, as src/native/linux/bpf/lisp_bpf.h lays them out, and what a mapping means for the
 * packet path: which paths share its flows. Values in, values out: nothing here knows the kernel.
 */
import type { Locator, Path } from '../../lisp/mapping.js';
import { addressBytes, addressFamily, addressFromBytes, parsePrefix } from '../../lisp/prefix.js';
import { MAX_LOCATORS, OUTER_HEADERS } from '../core-plane.js';
import type { Flow } from '../platform.js';

/** Sizes and bounds of lisp_bpf.h. */
export const MAX_PATHS = 8192;
export const EVENT_RING = 1 << 18;
export const NONE = 0xffffffff;

/** Octets of each map's key and value. */
export const LAYOUT = {
  lisp_config: { key: 4, value: 16 },
  lisp_eids: { key: 24, value: 4 },
  lisp_mappings: { key: 24, value: 200 },
  lisp_paths: { key: 4, value: 56 },
  lisp_path_numbers: { key: 36, value: 4 },
  lisp_path_counters: { key: 4, value: 40 },
  lisp_pins: { key: 44, value: 4 },
  lisp_gleaned: { key: 44, value: 16 },
  lisp_counters: { key: 4, value: 8 },
} as const;
export type MapName = keyof typeof LAYOUT;

/** Counters of the programs, in the order of lisp_bpf.h. */
export const COUNTERS = [
  'encapsulated',
  'decapsulated',
  'gleaned',
  'events-lost',
  'encapsulate-unusual-packet',
  'encapsulate-no-mapping',
  'encapsulate-no-locator',
  'encapsulate-size',
  'encapsulate-path-not-resolved',
  'decapsulate-unusual-outer',
  'decapsulate-unknown-path',
  'decapsulate-lisp-header',
  'decapsulate-unusual-inner',
  'decapsulate-not-local',
  'decapsulate-source',
  'no-memory',
] as const;
export type CounterName = (typeof COUNTERS)[number];

// Maps are in the byte order of the machine, but for what goes on the wire.
const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const view = (octets: Uint8Array): DataView =>
  new DataView(octets.buffer, octets.byteOffset, octets.byteLength);

export function encodeNumber(value: number): Uint8Array {
  const octets = new Uint8Array(4);
  view(octets).setUint32(0, value, LITTLE);
  return octets;
}

export const decodeNumber = (octets: Uint8Array): number => view(octets).getUint32(0, LITTLE);

export interface PlaneConfig {
  device: number;
  iid: number;
  seed: number;
  sourceCheck: boolean;
  glean: boolean;
}

export function encodeConfig(config: PlaneConfig): Uint8Array {
  const octets = new Uint8Array(LAYOUT.lisp_config.value);
  const data = view(octets);
  data.setUint32(0, config.device, LITTLE);
  data.setUint32(4, config.iid, LITTLE);
  data.setUint32(8, config.seed, LITTLE);
  octets[12] = Number(config.sourceCheck);
  octets[13] = Number(config.glean);
  return octets;
}

/** Key of both prefix tables. */
export function encodePrefix(iid: number, text: string): Uint8Array {
  const prefix = parsePrefix(text);
  const octets = new Uint8Array(LAYOUT.lisp_mappings.key);
  view(octets).setUint32(0, 32 + prefix.length, LITTLE);
  octets.set([iid >> 16, iid >> 8, iid, prefix.family], 4);
  octets.set(prefix.bytes, 8);
  return octets;
}

export interface PathRecord extends Path {
  /** Of the remote RLOC. */
  remoteNumber: number;
  /** Index of the device towards it; 0: user space sends. */
  device: number;
  /** Largest inner packet. */
  mtu: number;
  up: boolean;
  /** false: `local` is no RLOC of this host any more. */
  valid: boolean;
}

export function encodePath(path: PathRecord): Uint8Array {
  const octets = new Uint8Array(LAYOUT.lisp_paths.value);
  const data = view(octets);
  const family = addressFamily(path.remote);
  octets.set(addressBytes(path.local), 0);
  octets.set(addressBytes(path.remote), 16);
  data.setUint32(32, path.remoteNumber, LITTLE);
  data.setUint32(36, path.device, LITTLE);
  data.setUint32(40, OUTER_HEADERS[family], LITTLE);
  data.setUint32(44, path.mtu, LITTLE);
  octets.set([family, Number(path.up), Number(path.valid)], 48);
  return octets;
}

export function encodePathKey(path: Path): Uint8Array {
  const octets = new Uint8Array(LAYOUT.lisp_path_numbers.key);
  octets.set(addressBytes(path.local), 0);
  octets.set(addressBytes(path.remote), 16);
  view(octets).setUint32(32, addressFamily(path.remote), LITTLE);
  return octets;
}

const PROTOCOL_TCP = 6;

/** A flow in the direction the device sends it. */
export function encodeFlow(flow: Flow, iid: number, protocol = PROTOCOL_TCP): Uint8Array {
  const octets = new Uint8Array(LAYOUT.lisp_pins.key);
  const data = view(octets);
  octets.set(addressBytes(flow.local.address), 0);
  octets.set(addressBytes(flow.remote.address), 16);
  data.setUint16(32, flow.local.port);
  data.setUint16(34, flow.remote.port);
  octets.set([protocol, addressFamily(flow.remote.address)], 36);
  data.setUint32(40, iid, LITTLE);
  return octets;
}

export function decodeFlow(octets: Uint8Array): { flow: Flow; iid: number; protocol: number } {
  const data = view(octets);
  const size = octets[37] === 4 ? 4 : 16;
  return {
    flow: {
      local: { address: addressFromBytes(octets.slice(0, size)), port: data.getUint16(32) },
      remote: { address: addressFromBytes(octets.slice(16, 16 + size)), port: data.getUint16(34) },
    },
    iid: data.getUint32(40, LITTLE),
    protocol: octets[36]!,
  };
}

export function encodeGleaned(path: number, usedNs: bigint): Uint8Array {
  const octets = new Uint8Array(LAYOUT.lisp_gleaned.value);
  view(octets).setUint32(0, path, LITTLE);
  view(octets).setBigUint64(8, usedNs, LITTLE);
  return octets;
}

export const decodeGleaned = (octets: Uint8Array): { path: number; usedNs: bigint } => ({
  path: view(octets).getUint32(0, LITTLE),
  usedNs: view(octets).getBigUint64(8, LITTLE),
});

/** Octets of the outer packet, as a router said. */
export interface KernelEvent {
  type: 'path-mtu';
  path: number;
  mtu: number;
}

/** What the ring brings; undefined: nothing this side knows. */
export function decodeEvent(octets: Uint8Array): KernelEvent | undefined {
  const data = view(octets);
  const path = data.getUint32(4, LITTLE);
  switch (data.getUint32(0, LITTLE)) {
    case 1:
      return { type: 'path-mtu', path, mtu: data.getUint32(8, LITTLE) };
    default:
      return undefined;
  }
}

/** Adds the processors' values up; each takes a multiple of 8 octets. */
export function sumCounters(octets: Uint8Array, words: number): bigint[] {
  const data = view(octets);
  const sums = Array.from({ length: words }, () => 0n);
  for (let at = 0; at + words * 8 <= octets.length; at += words * 8)
    for (let word = 0; word < words; word++)
      sums[word] = sums[word]! + data.getBigUint64(at + word * 8, LITTLE);
  return sums;
}

/** The last word of a path's counters is a time: the latest of the processors' counts. */
export function latest(octets: Uint8Array, words: number, word: number): bigint {
  const data = view(octets);
  let last = 0n;
  for (let at = 0; at + words * 8 <= octets.length; at += words * 8) {
    const value = data.getBigUint64(at + word * 8, LITTLE);
    if (value > last) last = value;
  }
  return last;
}

// ---------------------------------------------------------------- what a mapping means

export interface MappingRecord {
  /** Paths that share the flows, and each one's share. */
  shares: { path: number; weight: number }[];
  /** Numbers of the locators' RLOCs, in the mapping's order, and which of them may be sent to. */
  remotes: { number: number; usable: boolean }[];
}

export function encodeMapping(record: MappingRecord): Uint8Array {
  const octets = new Uint8Array(LAYOUT.lisp_mappings.value);
  const data = view(octets);
  let total = 0;
  let usable = 0;
  for (let index = 0; index < MAX_LOCATORS; index++) {
    const share = record.shares[index];
    const remote = record.remotes[index];
    total += share?.weight ?? 0;
    data.setUint32(8 + index * 8, share?.path ?? NONE, LITTLE);
    data.setUint32(12 + index * 8, share ? total : 0, LITTLE);
    data.setUint32(8 + MAX_LOCATORS * 8 + index * 4, remote?.number ?? NONE, LITTLE);
    if (remote?.usable) usable |= 1 << index;
  }
  data.setUint32(0, total, LITTLE);
  data.setUint32(4, usable >>> 0, LITTLE);
  return octets;
}

const UNUSED = 255;

/**
 * The paths that share a mapping's flows (RFC 9300 section 9), the way choose_path() of kmod/core does it: the usable
 * locators of the best priority, each from the local RLOC of its rank or the next one whose path is up; all weights zero
 * are even shares.
 */
export function planShares(
  locators: Locator[],
  localRlocs: string[],
  usable: (path: Path) => boolean,
): (Path & { weight: number })[] {
  const ranks = { 4: 0, 6: 0 };
  let best = UNUSED;
  let chosen: (Path & { weight: number })[] = [];
  for (const { rloc, priority, weight, reachable } of locators.slice(0, MAX_LOCATORS)) {
    const family = addressFamily(rloc);
    const rank = ranks[family]++;
    if (!reachable || priority > best || priority === UNUSED) continue;
    const same = localRlocs.filter((local) => addressFamily(local) === family);
    const local = same
      .map((_, turn) => same[(rank + turn) % same.length]!)
      .find((candidate) => usable({ local: candidate, remote: rloc }));
    if (local === undefined) continue;
    if (priority < best) {
      best = priority;
      chosen = [];
    }
    chosen.push({ local, remote: rloc, weight });
  }
  return chosen.every(({ weight }) => weight === 0)
    ? chosen.map((path) => ({ ...path, weight: 1 }))
    : chosen.filter(({ weight }) => weight > 0);
}
