// SPDX-License-Identifier: BSD-2-Clause

/**
 * The map-cache: configured mappings ('cli' over 'static') and learnt ones ('map-reply', 'map-notify'), found by longest
 * match. A configured prefix speaks for all that is inside it: what was learnt there is removed and not learnt again.
 * Learnt entries expire with their TTL and are bounded in number; the least recently used goes first.
 */
import type { Mapping, MappingSource } from './mapping.js';
import type { MappingChange } from './mapping-system.js';
import { Timers, type ControlClock } from './environment.js';
import { comparePrefixes, parsePrefix, type Prefix } from './prefix.js';
import { PrefixTable } from './prefix-table.js';

export interface LearntEntry {
  mapping: Mapping;
  prefix: Prefix;
  /** When somebody last looked it up, or traffic was seen on one of its locators. */
  usedAt: number;
}

type Removal = Extract<MappingChange, { type: 'removed' }>['reason'];

type ConfiguredSource = 'cli' | 'static';

export const isConfigured = (source: MappingSource): source is ConfiguredSource =>
  source === 'cli' || source === 'static';

/** No peer is believed for longer than a day. */
const MAX_TTL_SECONDS = 24 * 3600;

const sameMapping = (a: Mapping, b: Mapping): boolean =>
  a.source === b.source && a.action === b.action && JSON.stringify(a.locators) === JSON.stringify(b.locators);

export class MapCache {
  private readonly configured = new PrefixTable<Partial<Record<ConfiguredSource, Mapping>>>();
  private readonly learnt = new PrefixTable<LearntEntry>();
  private readonly timers: Timers;
  private cancelSweep: (() => void) | undefined;
  private sweepAt = Infinity;

  constructor(
    private readonly clock: ControlClock,
    private readonly onChange: (change: MappingChange) => void,
    private readonly capacity = 10_000,
  ) {
    this.timers = new Timers(clock);
  }

  get learntCount(): number {
    return this.learnt.size;
  }

  private static effective(
    slot: Partial<Record<ConfiguredSource, Mapping>> | undefined,
  ): Mapping | undefined {
    return slot?.cli ?? slot?.static;
  }

  private alive = (entry: LearntEntry): boolean => (entry.mapping.expiresAt ?? Infinity) > this.clock.now();

  /** Longest match of an address or prefix. */
  lookup(iid: number, eid: string): Mapping | undefined {
    const prefix = parsePrefix(eid);
    const configured = MapCache.effective(this.configured.match(iid, prefix));
    const entry = this.learnt.match(iid, prefix, this.alive);
    // Nothing learnt lies inside a configured prefix, so a longer learnt one cannot be; a shorter one loses.
    if (configured) return configured;
    if (entry) entry.usedAt = this.clock.now();
    return entry?.mapping;
  }

  get(iid: number, eid: string): Mapping | undefined {
    const prefix = parsePrefix(eid);
    const entry = this.learnt.get(iid, prefix);
    return (
      MapCache.effective(this.configured.get(iid, prefix)) ??
      (entry && this.alive(entry) ? entry.mapping : undefined)
    );
  }

  /** The learnt entry that covers an EID, without touching it. */
  learntFor(iid: number, prefix: Prefix): LearntEntry | undefined {
    return this.learnt.match(iid, prefix, this.alive);
  }

  learntWithin(iid: number, prefix: Prefix): LearntEntry[] {
    return this.learnt.within(iid, prefix);
  }

  learntEntries(): LearntEntry[] {
    return this.learnt.values().filter(this.alive);
  }

  isShadowed(iid: number, prefix: Prefix): boolean {
    return this.configured.match(iid, prefix) !== undefined;
  }

  /** In no particular order: list() without its price. */
  all(): Mapping[] {
    const configured = this.configured.values().map((slot) => MapCache.effective(slot)!);
    return [...configured, ...this.learntEntries().map(({ mapping }) => mapping)];
  }

  list(iid?: number): Mapping[] {
    return this.all()
      .filter((mapping) => iid === undefined || mapping.iid === iid)
      .map((mapping) => ({ mapping, prefix: parsePrefix(mapping.eid) }))
      .sort((a, b) => a.mapping.iid - b.mapping.iid || comparePrefixes(a.prefix, b.prefix))
      .map(({ mapping }) => mapping);
  }

  /** Takes a mapping from the mapping system. Returns false when a configured one speaks for its prefix. */
  learn(mapping: Mapping): boolean {
    const prefix = parsePrefix(mapping.eid);
    const { iid } = mapping;
    if (this.isShadowed(iid, prefix)) return false;
    const ttlSeconds = Math.min(mapping.ttlSeconds, MAX_TTL_SECONDS);
    const previous = this.learnt.get(iid, prefix);
    if (ttlSeconds <= 0) {
      if (previous) this.remove(previous, 'deleted');
      return true;
    }
    const now = this.clock.now();
    const next: Mapping = { ...mapping, ttlSeconds, expiresAt: now + ttlSeconds * 1000 };
    this.learnt.set(iid, prefix, { mapping: next, prefix, usedAt: now });
    this.scheduleSweep(next.expiresAt!);
    if (!previous) this.evict();
    if (!previous || !sameMapping(previous.mapping, next)) {
      this.onChange({ type: 'set', mapping: next, ...(previous && { previous: previous.mapping }) });
    }
    return true;
  }

  forget(iid: number, prefix: Prefix, reason: Removal): boolean {
    const entry = this.learnt.get(iid, prefix);
    if (entry) this.remove(entry, reason);
    return entry !== undefined;
  }

  private remove(entry: LearntEntry, reason: Removal): void {
    this.learnt.delete(entry.mapping.iid, entry.prefix);
    this.onChange({ type: 'removed', mapping: entry.mapping, reason });
  }

  private evict(): void {
    if (this.learnt.size <= this.capacity) return;
    // A tenth at a time, so that a full cache does not sort itself for every newcomer.
    const byUse = this.learnt.values().sort((a, b) => a.usedAt - b.usedAt);
    for (const entry of byUse.slice(0, Math.max(1, Math.floor(this.capacity / 10))))
      this.remove(entry, 'evicted');
  }

  configure(mapping: Mapping & { source: ConfiguredSource }): void {
    const prefix = parsePrefix(mapping.eid);
    const slot = this.configured.get(mapping.iid, prefix) ?? {};
    const previous = MapCache.effective(slot) ?? this.learnt.get(mapping.iid, prefix)?.mapping;
    slot[mapping.source] = mapping;
    this.configured.set(mapping.iid, prefix, slot);
    for (const entry of this.learnt.within(mapping.iid, prefix)) {
      this.learnt.delete(entry.mapping.iid, entry.prefix);
      if (entry.mapping.eid !== mapping.eid)
        this.onChange({ type: 'removed', mapping: entry.mapping, reason: 'superseded' });
    }
    const next = MapCache.effective(slot)!;
    if (!previous || !sameMapping(previous, next))
      this.onChange({ type: 'set', mapping: next, ...(previous && { previous }) });
  }

  unconfigure(iid: number, eid: string, source: ConfiguredSource): boolean {
    const prefix = parsePrefix(eid);
    const slot = this.configured.get(iid, prefix);
    const removed = slot?.[source];
    if (!slot || !removed) return false;
    const before = MapCache.effective(slot)!;
    slot[source] = undefined;
    const after = MapCache.effective(slot);
    if (!after) {
      this.configured.delete(iid, prefix);
      this.onChange({ type: 'removed', mapping: removed, reason: 'deleted' });
    } else if (after !== before) {
      this.onChange({ type: 'set', mapping: after, previous: before });
    }
    return true;
  }

  /** Forgets everything learnt, of one instance-id or of all. */
  flush(iid?: number): number {
    const entries = this.learnt.values().filter(({ mapping }) => iid === undefined || mapping.iid === iid);
    for (const entry of entries) this.remove(entry, 'flushed');
    return entries.length;
  }

  private scheduleSweep(at: number): void {
    if (at >= this.sweepAt) return;
    this.cancelSweep?.();
    this.sweepAt = at;
    this.cancelSweep = this.timers.start(() => this.sweep(), at - this.clock.now());
  }

  private sweep(): void {
    this.sweepAt = Infinity;
    let next = Infinity;
    for (const entry of this.learnt.values()) {
      if (!this.alive(entry)) this.remove(entry, 'expired');
      else next = Math.min(next, entry.mapping.expiresAt ?? Infinity);
    }
    // Not more than one walk over the table a second.
    if (next < Infinity) this.scheduleSweep(Math.max(next, this.clock.now() + 1000));
  }

  stop(): void {
    this.timers.stop();
    this.sweepAt = Infinity;
  }
}
