// SPDX-License-Identifier: BSD-2-Clause

/** A mapping system that says what the test tells it to. */
import {
  pathKey,
  type Mapping,
  type Path,
  type PathState,
  type PathStatus,
} from '../../../src/lisp/mapping.js';
import type {
  MappingChange,
  MappingSystem,
  PathChange,
  Resolution,
} from '../../../src/lisp/mapping-system.js';
import { parsePrefix, prefixContains } from '../../../src/lisp/prefix.js';

export const mappingOf = (eid: string, rlocs: string[], fields: Partial<Mapping> = {}): Mapping => ({
  iid: 0,
  eid,
  locators: rlocs.map((rloc) => ({ rloc, priority: 1, weight: 50, reachable: true })),
  action: rlocs.length > 0 ? 'no-action' : 'natively-forward',
  ttlSeconds: 900,
  source: 'map-reply',
  ...fields,
});

export class ScriptedMappings implements MappingSystem {
  /** Addresses that resolve() was asked for. */
  readonly asked: string[] = [];
  readonly suspected: Path[] = [];
  readonly live: Path[][] = [];
  /** What resolve() answers; never, unless told. */
  answer: (eid: string) => Promise<Resolution> = () => new Promise(() => undefined);
  onSuspect: (path: Path) => void = () => undefined;
  private readonly cache = new Map<string, Mapping>();
  private readonly statuses = new Map<string, PathStatus>();
  private readonly changeListeners = new Set<(change: MappingChange) => void>();
  private readonly pathListeners = new Set<(change: PathChange) => void>();

  learn(mapping: Mapping): Mapping {
    const previous = this.cache.get(mapping.eid);
    this.cache.set(mapping.eid, mapping);
    for (const listener of this.changeListeners) {
      listener({ type: 'set', mapping, ...(previous && { previous }) });
    }
    return mapping;
  }
  forget(eid: string, reason: 'expired' | 'deleted' = 'expired'): void {
    const mapping = this.cache.get(eid);
    if (mapping === undefined) return;
    this.cache.delete(eid);
    for (const listener of this.changeListeners) listener({ type: 'removed', mapping, reason });
  }
  setState(path: Path, state: PathState): void {
    const previous = this.path(path);
    const status: PathStatus = { ...path, state, reason: 'the test says so' };
    this.statuses.set(pathKey(path), status);
    for (const listener of this.pathListeners) listener({ status, previous });
  }

  lookup(eid: string): Mapping | undefined {
    return [...this.cache.values()]
      .filter((mapping) => prefixContains(mapping.eid, eid))
      .sort((a, b) => parsePrefix(b.eid).length - parsePrefix(a.eid).length)[0];
  }
  resolve(eid: string): Promise<Resolution> {
    this.asked.push(eid);
    return this.answer(eid);
  }
  list(): Mapping[] {
    return [...this.cache.values()];
  }
  get(eid: string): Mapping | undefined {
    return this.cache.get(eid);
  }
  set(
    mapping: { eid: string; iid: number; locators: { rloc: string; priority: number; weight: number }[] },
    source: 'static' | 'cli',
  ): Mapping {
    return this.learn(
      mappingOf(
        mapping.eid,
        mapping.locators.map(({ rloc }) => rloc),
        { source, ttlSeconds: Infinity },
      ),
    );
  }
  delete(eid: string): boolean {
    const known = this.cache.has(eid);
    this.forget(eid, 'deleted');
    return known;
  }
  flush(): number {
    const count = this.cache.size;
    for (const eid of [...this.cache.keys()]) this.forget(eid);
    return count;
  }
  onChange(listener: (change: MappingChange) => void): () => void {
    this.changeListeners.add(listener);
    return () => this.changeListeners.delete(listener);
  }
  onPathChange(listener: (change: PathChange) => void): () => void {
    this.pathListeners.add(listener);
    return () => this.pathListeners.delete(listener);
  }
  paths(): PathStatus[] {
    return [...this.statuses.values()];
  }
  path(path: Path): PathStatus {
    return this.statuses.get(pathKey(path)) ?? { ...path, state: 'unknown', reason: 'not probed yet' };
  }
  setLivePaths(paths: Path[]): void {
    this.live.push(paths);
  }
  suspectPath(path: Path): void {
    this.suspected.push(path);
    this.onSuspect(path);
  }
  notePathReceived(): void {}
  notePathMtu(): void {}
  probe(): Promise<PathStatus[]> {
    return Promise.resolve(this.paths());
  }
}
