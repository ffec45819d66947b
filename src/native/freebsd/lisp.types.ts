// SPDX-License-Identifier: BSD-2-Clause

/** The addon's lisp(4) part (FreeBSD), as JavaScript sees it. Failures are Errors with `code` = errno's name. */
import type { Path } from '../../lisp/mapping.js';
import type { Flow, PathCounters, PlaneEvent, PlanePin } from '../../platform/platform.js';
import type { NativeLocator } from '../common/plane.types.js';

export interface NativeLispInfo {
  /** Empty: there is no interface in this network stack. */
  device: string;
  iid: number;
  mtu: number;
  mappings: number;
  pins: number;
  paths: number;
}

export interface NativeLispControl {
  info(): NativeLispInfo;
  setIid(iid: number): void;
  /** FIB by RLOC; undefined: that of the interface. */
  setRlocs(rlocs: string[], fibs?: (number | undefined)[]): void;
  setEids(iid: number, eids: string[]): void;
  setMapping(iid: number, eid: string, action: number, locators: NativeLocator[]): void;
  /** False when there was none. */
  deleteMapping(iid: number, eid: string): boolean;
  listMappings(): { iid: number; eid: string; locators: NativeLocator[] }[];
  flushMappings(): void;
  setPathState(path: Path, up: boolean): void;
  pin(flow: Flow, path: Path, iid: number): void;
  unpin(flow: Flow, iid: number): boolean;
  listPins(): PlanePin[];
  flushPins(): void;
  paths(): (PathCounters & { up: boolean; mtu: number })[];
  /** Counters under net.inet.lisp.<node>, by their names relative to it. */
  stats(node: string): Record<string, number>;
  /** A switch of net.inet.lisp. */
  setSwitch(name: string, value: number): void;
  /** Events that wait, at most some hundred; those lost before them are counted by stats('stats').events_lost. */
  events(): PlaneEvent[];
  close(): void;
}

export interface NativeLispPart {
  /** Opens /dev/lisp, or takes over a descriptor of it; `wake` is called when there are events. */
  Control: new (descriptor: number | undefined, wake?: () => void) => NativeLispControl;
}
