// SPDX-License-Identifier: BSD-2-Clause

/** The addon's data plane part, as JavaScript sees it. Failures are Errors with `code` = errno's name. */
import type { Flow, PathCounters, PlaneEvent, PlanePin, PlaneStats } from '../../platform/platform.js';
import type { Path } from '../../lisp/mapping.js';

export interface NativeSite {
  iid: number;
  rlocs: string[];
  eids: string[];
  routes: string[];
  sourceCheck: boolean;
  glean: boolean;
  /** Of the underlay, outer headers included; 0 leaves it. */
  underlayMtu: number;
}

export interface NativeLocator {
  rloc: string;
  priority: number;
  weight: number;
  reachable: boolean;
}

/** A LISP data packet: UDP payload and what its outer headers say. `local` is this host's side of either direction. */
export interface NativeOuter extends Path {
  sourcePort: number;
  tos: number;
  ttl: number;
  data: Uint8Array;
}

/** What became of a packet; neither: dropped (and counted) or held. `inner` of an encapsulation is an ICMP answer. */
export interface NativeResult {
  outer?: NativeOuter;
  inner?: Uint8Array;
}

export interface NativePlane {
  /** All or nothing. On a device: sockets for new RLOCs are opened first. */
  setSite(site: NativeSite): void;
  setMapping(iid: number, eid: string, action: number, locators: NativeLocator[]): void;
  deleteMapping(iid: number, eid: string): boolean;
  listMappings(): {
    iid: number;
    eid: string;
    locators: { rloc: string; priority: number; weight: number }[];
  }[];
  setPathState(path: Path, up: boolean): void;
  pin(flow: Flow, path: Path, iid: number): void;
  unpin(flow: Flow, iid: number): boolean;
  listPins(): PlanePin[];
  paths(): (PathCounters & { up: boolean; mtu?: number })[];
  stats(): PlaneStats & { icmpSent: number; eventsDropped: number };
  /** Takes what has happened since the last call. */
  events(): PlaneEvent[];

  // In-process: `now` is the caller's clock, whole milliseconds.
  encapsulate(packet: Uint8Array, now: number): NativeResult;
  decapsulate(outer: NativeOuter, now: number): NativeResult;
  /** Results of packets whose mapping has come. */
  released(now: number): NativeResult[];
  housekeeping(now: number): void;

  /** On a TUN device (Linux): takes ownership of the descriptor, also when it throws. setSite() comes afterwards. */
  startDevice(descriptor: number): void;
  stop(): void;
}

export interface NativePlanePart {
  /** `wake` is called when events() has something new. */
  Plane: new (iid: number, wake?: () => void) => NativePlane;
  /** MTU of the interface that has the address; 0: none has. */
  interfaceMtu(address: string): number;
  /** Every cause of a drop there is, with what it means. */
  dropCauses(): { name: string; text: string }[];
}
