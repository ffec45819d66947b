// SPDX-License-Identifier: BSD-2-Clause

/**
 * Values by (instance-id, prefix), found exactly or by longest match. One hash per prefix length that is in use: a
 * lookup costs as many probes as there are different lengths, which are few in practice and 129 at worst.
 */
import { comparePrefixes, prefixContains, prefixFromBytes, type Prefix } from './prefix.js';

interface Entry<V> {
  iid: number;
  prefix: Prefix;
  value: V;
}

/** Of one instance-id and address family. */
interface Level<V> {
  byLength: Map<number, Map<string, Entry<V>>>;
  /** Descending. */
  lengths: number[];
}

export class PrefixTable<V> {
  private readonly levels = new Map<string, Level<V>>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  private level(iid: number, family: number): Level<V> | undefined {
    return this.levels.get(`${iid}/${family}`);
  }

  get(iid: number, prefix: Prefix): V | undefined {
    return this.level(iid, prefix.family)?.byLength.get(prefix.length)?.get(prefix.text)?.value;
  }

  set(iid: number, prefix: Prefix, value: V): void {
    let level = this.level(iid, prefix.family);
    if (!level) this.levels.set(`${iid}/${prefix.family}`, (level = { byLength: new Map(), lengths: [] }));
    let entries = level.byLength.get(prefix.length);
    if (!entries) {
      level.byLength.set(prefix.length, (entries = new Map()));
      level.lengths = [...level.byLength.keys()].sort((a, b) => b - a);
    }
    if (!entries.has(prefix.text)) this.count++;
    entries.set(prefix.text, { iid, prefix, value });
  }

  delete(iid: number, prefix: Prefix): boolean {
    const level = this.level(iid, prefix.family);
    const entries = level?.byLength.get(prefix.length);
    if (!level || !entries?.delete(prefix.text)) return false;
    this.count--;
    if (entries.size === 0) {
      level.byLength.delete(prefix.length);
      level.lengths = level.lengths.filter((length) => length !== prefix.length);
      if (level.lengths.length === 0) this.levels.delete(`${iid}/${prefix.family}`);
    }
    return true;
  }

  /** The longest prefix that contains all of `prefix` and whose value is accepted. */
  match(iid: number, prefix: Prefix, accept: (value: V) => boolean = () => true): V | undefined {
    return this.matches(iid, prefix, accept, true)[0];
  }

  /** Every prefix that contains all of `prefix`, the longest first. */
  matches(iid: number, prefix: Prefix, accept: (value: V) => boolean = () => true, first = false): V[] {
    const level = this.level(iid, prefix.family);
    const found: V[] = [];
    for (const length of level?.lengths ?? []) {
      if (length > prefix.length) continue;
      const entry = level?.byLength.get(length)?.get(prefixFromBytes(prefix.bytes, length).text);
      if (!entry || !accept(entry.value)) continue;
      found.push(entry.value);
      if (first) break;
    }
    return found;
  }

  /** Every prefix inside `prefix`, itself included. */
  within(iid: number, prefix: Prefix): V[] {
    const found: V[] = [];
    const level = this.level(iid, prefix.family);
    for (const [length, entries] of level?.byLength ?? []) {
      if (length < prefix.length) continue;
      for (const entry of entries.values()) if (prefixContains(prefix, entry.prefix)) found.push(entry.value);
    }
    return found;
  }

  /** Prefixes of one instance-id and family, unsorted. */
  prefixes(iid: number, family: 4 | 6): Prefix[] {
    return [...(this.level(iid, family)?.byLength.values() ?? [])].flatMap((entries) =>
      [...entries.values()].map(({ prefix }) => prefix),
    );
  }

  /** Sorted by instance-id, then as prefixes sort. */
  values(): V[] {
    const entries = [...this.levels.values()].flatMap(({ byLength }) =>
      [...byLength.values()].flatMap((map) => [...map.values()]),
    );
    return entries
      .sort((a, b) => a.iid - b.iid || comparePrefixes(a.prefix, b.prefix))
      .map(({ value }) => value);
  }

  clear(): void {
    this.levels.clear();
    this.count = 0;
  }
}
