// SPDX-License-Identifier: BSD-2-Clause

/**
 * What the data planes have in common whose tables are those of the C core (kmod/core), wherever the core runs: in this
 * process, in its threads, in the FreeBSD kernel. A plane adds how packets get to it.
 */
import { MAPPING_ACTIONS, type Locator, type Mapping, type Path } from '../lisp/mapping.js';
import type { NativeLocator } from '../native/common/plane.types.js';
import type {
  Flow,
  LispDataPlane,
  PathCounters,
  PlaneEvent,
  PlaneOptions,
  PlanePin,
  PlaneStats,
} from './platform.js';

/** LISP_MAX_LOCATORS of kmod/core/lisp_types.h. */
export const MAX_LOCATORS = 16;

/** Outer IP, UDP and LISP header (RFC 9300 section 7), by the family of the RLOC. */
export const OUTER_HEADERS = { 4: 36, 6: 56 } as const;

/** Assumed of an RLOC of whose interface nothing is known. */
export const DEFAULT_UNDERLAY_MTU = 1500;

/** What has to be left free for the outer headers of the worst path. */
export const outerHeaders = (rlocs: string[]): number =>
  OUTER_HEADERS[rlocs.some((rloc) => rloc.includes(':')) ? 6 : 4];

/** The locators worth having when there are more than a plane keeps: best priority first, as they came among equals. */
export function planeLocators(locators: Locator[]): NativeLocator[] {
  const kept =
    locators.length <= MAX_LOCATORS
      ? locators
      : [...locators].sort((a, b) => a.priority - b.priority).slice(0, MAX_LOCATORS);
  return kept.map(({ rloc, priority, weight, reachable }) => ({ rloc, priority, weight, reachable }));
}

/** The core's tables, as each binding offers them. */
export interface CoreTables {
  setMapping(iid: number, eid: string, action: number, locators: NativeLocator[]): void;
  deleteMapping(iid: number, eid: string): unknown;
  listMappings(): ReturnType<LispDataPlane['listMappings']>;
  setPathState(path: Path, up: boolean): void;
  pin(flow: Flow, path: Path, iid: number): void;
  unpin(flow: Flow, iid: number): unknown;
  listPins(): PlanePin[];
  paths(): PathCounters[];
}

export abstract class CoreLispDataPlane implements LispDataPlane {
  abstract readonly kind: string;

  /** @throws PlatformError where there are none before the start. */
  protected abstract get tables(): CoreTables;

  abstract start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }>;
  abstract update(options: PlaneOptions): Promise<void>;
  abstract stats(): PlaneStats;
  abstract stop(): Promise<void>;

  setMapping({ iid, eid, action, locators }: Mapping): void {
    this.tables.setMapping(iid, eid, MAPPING_ACTIONS[action], planeLocators(locators));
  }

  deleteMapping(iid: number, eid: string): void {
    this.tables.deleteMapping(iid, eid);
  }

  listMappings(): ReturnType<LispDataPlane['listMappings']> {
    return this.tables.listMappings();
  }

  setPathState(path: Path, up: boolean): void {
    this.tables.setPathState(path, up);
  }

  pin(flow: Flow, path: Path, iid = 0): void {
    this.tables.pin(flow, path, iid);
  }

  unpin(flow: Flow, iid = 0): void {
    this.tables.unpin(flow, iid);
  }

  listPins(): PlanePin[] {
    return this.tables.listPins();
  }

  paths(): PathCounters[] {
    return this.tables.paths();
  }
}
