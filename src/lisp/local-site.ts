// SPDX-License-Identifier: BSD-2-Clause

/** This xTR's own side: its RLOCs, the EID prefixes it is authoritative for, and those it has lost to another xTR. */
import type { PresharedKey } from './codec/authentication.js';
import type { MappingRecord } from './codec/record.js';
import type { Locator } from './mapping.js';
import { addressFamily, parsePrefix, type Prefix } from './prefix.js';
import { PrefixTable } from './prefix-table.js';
import { toLocatorRecord, toMappingRecord, type Eid } from './records.js';

export interface RlocOptions {
  address: string;
  priority: number;
  weight: number;
}

export interface DatabaseOptions {
  eid: string;
  iid: number;
  ttlSeconds: number;
  rlocs: RlocOptions[];
}

export interface MapServerPeerOptions extends PresharedKey {
  address: string;
  proxyReply: boolean;
}

/** Named as in the configuration (`Config.lisp` and `Config.rlocs`), which can be passed as it is. */
export interface XtrOptions {
  iid: number;
  rlocs: RlocOptions[];
  mapResolvers: string[];
  mapServers: MapServerPeerOptions[];
  database: DatabaseOptions[];
  requestTimeoutMs: number;
  requestRetries: number;
  registerIntervalSeconds: number;
  probe: { intervalMs: number; timeoutMs: number; failures: number };
}

export interface DatabaseEntry extends Eid {
  ttlSeconds: number;
  rlocs: RlocOptions[];
  /** Another xTR has registered it since; it is neither registered nor answered for until it is configured anew. */
  moved: boolean;
}

export interface DatabaseChange {
  added: DatabaseEntry[];
  removed: DatabaseEntry[];
  /** Same EID, other locators or TTL. */
  changed: DatabaseEntry[];
}

export class LocalSite {
  private database = new PrefixTable<DatabaseEntry>();
  /** What was ours once: traffic that still comes for it is answered with an SMR. */
  private readonly lost = new PrefixTable<Eid>();
  private rlocs: RlocOptions[];
  private readonly down = new Set<string>();

  constructor(options: Pick<XtrOptions, 'rlocs' | 'database'>) {
    this.rlocs = options.rlocs;
    this.update(options);
  }

  update(options: Pick<XtrOptions, 'rlocs' | 'database'>): DatabaseChange {
    this.rlocs = options.rlocs;
    const change: DatabaseChange = { added: [], removed: [], changed: [] };
    const before = this.database;
    this.database = new PrefixTable();
    for (const { eid, iid, ttlSeconds, rlocs } of options.database) {
      const prefix = parsePrefix(eid);
      const old = before.get(iid, prefix);
      const entry: DatabaseEntry = { iid, prefix, ttlSeconds, rlocs, moved: old?.moved ?? false };
      this.database.set(iid, prefix, entry);
      if (!old) {
        change.added.push(entry);
        for (const gone of this.lost.within(iid, prefix)) this.lost.delete(iid, gone.prefix);
      } else if (old.ttlSeconds !== ttlSeconds || JSON.stringify(old.rlocs) !== JSON.stringify(rlocs)) {
        change.changed.push(entry);
      }
    }
    for (const old of before.values()) {
      if (this.database.get(old.iid, old.prefix)) continue;
      change.removed.push(old);
      this.lose(old);
    }
    return change;
  }

  entries(): DatabaseEntry[] {
    return this.database.values();
  }

  isLocalRloc(address: string): boolean {
    return this.rlocs.some((rloc) => rloc.address === address);
  }

  /** RLOCs of a family, those that are up first. */
  localRlocs(family?: 4 | 6): string[] {
    const addresses = this.rlocs
      .map(({ address }) => address)
      .filter((address) => !family || addressFamily(address) === family);
    return [
      ...addresses.filter((address) => !this.down.has(address)),
      ...addresses.filter((address) => this.down.has(address)),
    ];
  }

  /** The RLOC to reach `remote` from; with each further attempt another one, as long as there are. */
  localFor(remote: string, attempt = 0): string | undefined {
    const candidates = this.localRlocs(addressFamily(remote));
    return candidates[attempt % Math.max(1, candidates.length)];
  }

  /** Returns whether that is news. */
  setRlocState(address: string, up: boolean): boolean {
    if (up !== this.down.has(address)) return false;
    if (up) this.down.delete(address);
    else this.down.add(address);
    return true;
  }

  /** The database entry that all of an EID prefix belongs to, unless it has moved away. */
  own(eid: Eid): DatabaseEntry | undefined {
    const entry = this.database.match(eid.iid, eid.prefix);
    if (!entry || entry.moved) return undefined;
    const lost = this.lost.match(eid.iid, eid.prefix);
    return lost && lost.prefix.length > entry.prefix.length ? undefined : entry;
  }

  /** Entries strictly inside a prefix. */
  moreSpecifics(eid: Eid): DatabaseEntry[] {
    return this.database
      .within(eid.iid, eid.prefix)
      .filter((entry) => !entry.moved && entry.prefix.length > eid.prefix.length);
  }

  /** Another xTR has this now. Returns whether any of it was ours. */
  markMoved(eid: Eid): boolean {
    const inside = this.database.within(eid.iid, eid.prefix).filter((entry) => !entry.moved);
    for (const entry of inside) {
      entry.moved = true;
      this.lose(entry);
    }
    const covering = this.own(eid);
    if (covering) this.lose(eid);
    return inside.length > 0 || covering !== undefined;
  }

  private lose(eid: Eid): void {
    if (this.lost.size < 4096) this.lost.set(eid.iid, eid.prefix, { iid: eid.iid, prefix: eid.prefix });
  }

  wasOurs(eid: Eid): boolean {
    return this.own(eid) === undefined && this.lost.match(eid.iid, eid.prefix) !== undefined;
  }

  locators(entry: DatabaseEntry): Locator[] {
    return entry.rlocs.map(({ address, priority, weight }) => ({
      rloc: address,
      priority,
      weight,
      reachable: !this.down.has(address),
      local: true,
    }));
  }

  /** `probed`: the RLOC that a probe came to. */
  record(entry: DatabaseEntry, probed?: string, ttlSeconds = entry.ttlSeconds): MappingRecord {
    const locators = this.locators(entry).map((locator) => toLocatorRecord(locator, locator.rloc === probed));
    return toMappingRecord(entry, { ttlSeconds, locators, authoritative: true });
  }

  /** An address of ours in the family and instance of an EID, for the Source-EID field and inner headers. */
  sourceEid(iid: number, family: 4 | 6): Prefix | undefined {
    return this.entries().find((entry) => entry.iid === iid && entry.prefix.family === family && !entry.moved)
      ?.prefix;
  }
}
