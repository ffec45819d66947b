// SPDX-License-Identifier: BSD-2-Clause

/**
 * Ingress and egress tunnel router, control side.
 *
 *   resolve, miss, SMR received -> MapRequester -> Map-Reply -> MapCache -> onChange
 *   database                    -> Registrar    -> map-servers; Map-Notify of a move -> Solicitor
 *   map-cache's locators        -> Prober       -> onPathChange
 *   Map-Request for our EIDs    -> Map-Reply
 */
import { instanceOf, ipOf } from './codec/address.js';
import type { InnerPacket } from './codec/ecm.js';
import { encodeMessage, type MapNotify, type MapReply, type MapRequest } from './codec/messages.js';
import type { MappingRecord } from './codec/record.js';
import {
  BoundedMap,
  RateLimiter,
  Timers,
  type ControlDatagram,
  type ControlEnvironment,
} from './environment.js';
import { LocalSite, type DatabaseEntry, type XtrOptions } from './local-site.js';
import { MapCache, isConfigured } from './map-cache.js';
import { MapRequester } from './map-requests.js';
import { pathKey, type Mapping, type MappingSource, type Path, type PathStatus } from './mapping.js';
import type { MappingChange, MappingSystem, PathChange, Resolution } from './mapping-system.js';
import {
  addressFamily,
  canonicalAddress,
  canonicalPrefix,
  isPrefix,
  parsePrefix,
  prefixContains,
} from './prefix.js';
import { Prober, type WantedPath } from './probing.js';
import {
  eidKey,
  eidOf,
  hostEid,
  isUsableRloc,
  sourceOf,
  toMapping,
  toMappingRecord,
  withinSize,
  type Eid,
} from './records.js';
import { Registrar, type ControlStore, type RegistrationStatus } from './registration.js';
import { Solicitor, type Peer } from './soliciting.js';

const MAX_IID = 0xffffff;
/** Entries in use are asked for again when this share of their TTL has passed. */
const REFRESH_AT = 0.85;
const REFRESH_CHECK_MS = 5000;
const SYNC_INTERVAL_MS = 100;
const NOTE_USE_MS = 1000;
/** Several SMRs for one mapping (one per RLOC of the sender, and repeated) are one question. */
const SMR_QUIET_MS = 400;
/** For how long, and how often, a mapping that is said to be gone is asked for again before that is believed. */
const VANISHING_MS = 3000;
const VANISHING_RETRY_MS = 1000;

export class Xtr implements MappingSystem {
  readonly site: LocalSite;
  private readonly cache: MapCache;
  private readonly requester: MapRequester;
  private readonly registrar: Registrar;
  private readonly prober: Prober;
  private readonly solicitor: Solicitor;
  private readonly timers: Timers;
  private readonly changeListeners = new Set<(change: MappingChange) => void>();
  private readonly pathListeners = new Set<(change: PathChange) => void>();
  private livePaths: Path[] = [];
  private syncScheduled = false;
  private syncedAt = -Infinity;
  private usedAt = -Infinity;
  private running = false;
  /** When a mapping was last asked for because of an SMR. */
  private readonly smrAnswered = new BoundedMap<string, { at: number; again?: () => void }>(1024);
  /** EIDs whose mapping is said to be gone, since when, and whether they are about to be asked for again. */
  private readonly vanishing = new BoundedMap<string, { since: number; asking: boolean }>(1024);
  private readonly requestLimiter: RateLimiter<string>;
  private readonly strayLimiter: RateLimiter<string>;

  constructor(
    private readonly environment: ControlEnvironment,
    private options: XtrOptions,
    store: ControlStore,
  ) {
    this.site = new LocalSite(options);
    this.cache = new MapCache(environment.clock, (change) => this.changed(change));
    this.requester = new MapRequester(environment, this.site, options);
    this.registrar = new Registrar(environment, this.site, options, store, (record) =>
      this.movedAway(record),
    );
    this.prober = new Prober(environment, options.probe, (change) =>
      this.pathListeners.forEach((listener) => listener(change)),
    );
    this.solicitor = new Solicitor(environment, this.site, (iid) => this.cachedPeers(iid));
    this.timers = new Timers(environment.clock);
    this.requestLimiter = new RateLimiter(environment.clock, 1000, 2000);
    this.strayLimiter = new RateLimiter(environment.clock, 1, 1);
  }

  start(): void {
    this.running = true;
    this.registrar.start();
    this.scheduleRefresh();
    this.scheduleSync();
  }

  /** Applies a new configuration; what is the same goes on undisturbed. Static mappings are set with `set`. */
  update(options: XtrOptions): void {
    this.options = options;
    const change = this.site.update(options);
    this.requester.update(options);
    this.prober.update(options.probe);
    this.registrar.update(options);
    if (!this.running) return;
    if (change.removed.length > 0) this.registrar.withdraw(change.removed);
    if (change.added.length + change.changed.length > 0) this.registrar.registerNow();
    // The map-servers first: who is solicited asks at once.
    for (const entry of [...change.removed, ...change.changed])
      if (!entry.moved) this.solicitor.solicit(entry);
    // What was learnt of a prefix that is ours now is of no use any more.
    for (const entry of change.added) this.cache.forget(entry.iid, entry.prefix, 'superseded');
    this.scheduleSync();
  }

  /** Withdraws the registrations and settles what is outstanding. */
  stop(): void {
    this.running = false;
    this.registrar.stop();
    this.requester.stop();
    this.prober.stop();
    this.solicitor.stop();
    this.cache.stop();
    this.timers.stop();
  }

  // -------------------------------------------------------------- MappingSystem

  lookup(eid: string, iid = this.options.iid): Mapping | undefined {
    return this.cache.lookup(iid, eid);
  }

  get(eid: string, iid = this.options.iid): Mapping | undefined {
    return this.cache.get(iid, eid);
  }

  list(iid?: number): Mapping[] {
    return this.cache.list(iid);
  }

  async resolve(eid: string, iid = this.options.iid): Promise<Resolution> {
    if (!isPrefix(eid))
      return { status: 'unreachable', reason: `${JSON.stringify(eid)} is no EID`, retryAfterMs: 0 };
    const known = this.lookup(eid, iid);
    if (known) return Xtr.resolution(known);
    const wanted: Eid = { iid, prefix: parsePrefix(eid) };
    const own = this.site.own(wanted);
    if (own) {
      // Ours: the host's own routing knows the way.
      const mapping: Mapping = {
        iid,
        eid: own.prefix.text,
        locators: [],
        action: 'natively-forward',
        ttlSeconds: own.ttlSeconds,
        source: 'static',
      };
      return { status: 'negative', mapping };
    }
    return this.ask(wanted, false);
  }

  private static resolution(mapping: Mapping): Resolution {
    return { status: mapping.locators.length > 0 ? 'found' : 'negative', mapping };
  }

  private async ask(eid: Eid, smrInvoked: boolean): Promise<Resolution> {
    const result = await this.requester.request(eid, smrInvoked);
    if (result.status === 'unreachable') return result;
    const { mappings } = result;
    const had = this.cache.learntFor(eid.iid, eid.prefix);
    if (had && had.mapping.locators.length > 0 && mappings.every(({ locators }) => locators.length === 0)) {
      // Gone. But a server that moves may be withdrawn in one place a moment before it is registered in the other.
      // A mere refresh does not shorten what was promised: the entry lives out its time, and is asked for again.
      if (!smrInvoked) return { status: 'found', mapping: had.mapping };
      const { clock } = this.environment;
      const vanishing = this.vanishing.get(eidKey(eid)) ?? { since: clock.now(), asking: false };
      if (clock.now() - vanishing.since < VANISHING_MS) {
        if (!vanishing.asking) {
          this.timers.start(() => {
            vanishing.asking = false;
            void this.ask(eid, true);
          }, VANISHING_RETRY_MS);
        }
        vanishing.asking = true;
        this.vanishing.set(eidKey(eid), vanishing);
        return { status: 'found', mapping: had.mapping };
      }
    }
    this.vanishing.delete(eidKey(eid));
    for (const mapping of mappings) this.learn(mapping, eid);
    const known = this.cache.lookup(eid.iid, eid.prefix.text);
    if (known) return Xtr.resolution(known);
    // TTL 0: said to be gone, and not to be kept.
    const mapping = mappings[0]!;
    return { status: 'negative', mapping: { ...mapping, locators: [] } };
  }

  private learn(mapping: Mapping, asked: Eid): void {
    const { iid } = mapping;
    const prefix = parsePrefix(mapping.eid);
    if (this.site.own({ iid, prefix })) return this.environment.counters.add('drop.mapping-of-own-eid');
    for (const { prefix: inner } of this.cache.learntWithin(iid, prefix)) {
      // A negative answer covers a hole in which nothing is registered. A positive one that is shorter than what we had
      // of the EID in question says that the longer one is no more; of other longer ones it says nothing.
      const stale = mapping.locators.length === 0 || prefixContains(inner, asked.prefix);
      if (inner.length > prefix.length && stale) this.cache.forget(iid, inner, 'superseded');
    }
    this.cache.learn(mapping);
  }

  set(
    mapping: { eid: string; iid: number; locators: { rloc: string; priority: number; weight: number }[] },
    source: 'static' | 'cli',
  ): Mapping {
    const { iid } = mapping;
    if (!Number.isInteger(iid) || iid < 0 || iid > MAX_IID)
      throw new RangeError(`instance-id ${iid} is not between 0 and ${MAX_IID}`);
    const complete: Mapping & { source: typeof source } = {
      iid,
      eid: canonicalPrefix(mapping.eid),
      locators: mapping.locators.map(({ rloc, priority, weight }) => {
        const address = canonicalAddress(rloc);
        if (!isUsableRloc(address))
          throw new RangeError(
            `${address} cannot be an RLOC: it is unspecified, loopback, multicast or broadcast`,
          );
        if (!Number.isInteger(priority) || priority < 0 || priority > 255)
          throw new RangeError(`priority ${priority} is not between 0 and 255`);
        if (!Number.isInteger(weight) || weight < 0 || weight > 100)
          throw new RangeError(`weight ${weight} is not between 0 and 100`);
        return { rloc: address, priority, weight, reachable: true };
      }),
      action: mapping.locators.length > 0 ? 'no-action' : 'natively-forward',
      ttlSeconds: Infinity,
      source,
    };
    this.cache.configure(complete);
    return complete;
  }

  delete(eid: string, iid: number, source: MappingSource): boolean {
    if (isConfigured(source)) return this.cache.unconfigure(iid, eid, source);
    return this.cache.forget(iid, parsePrefix(eid), 'deleted');
  }

  flush(iid?: number): number {
    return this.cache.flush(iid);
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
    return this.prober.statuses();
  }

  path(path: Path): PathStatus {
    return this.prober.status(path);
  }

  setLivePaths(paths: Path[]): void {
    const before = this.livePaths.map(pathKey).sort().join();
    this.livePaths = paths.slice(0, 4096);
    if (this.livePaths.map(pathKey).sort().join() !== before) this.syncPaths();
    this.noteUse();
  }

  suspectPath(path: Path): void {
    this.prober.suspect(path);
  }

  notePathReceived(path: Path): void {
    this.prober.received(path);
  }

  notePathMtu(path: Path, mtu: number): void {
    this.prober.setMtu(path, mtu);
  }

  probe(remote?: string): Promise<PathStatus[]> {
    // Those of a mapping that came a moment ago as well.
    this.syncPaths();
    return this.prober.probeNow(remote);
  }

  // -------------------------------------------------------------- what the daemon tells

  /** The data plane has a packet towards (or from) an EID that it has no mapping of. */
  miss(iid: number, eid: string): void {
    this.environment.counters.add('plane-miss');
    void this.resolve(eid, iid);
  }

  /** A packet was decapsulated towards an EID that is not of this site. */
  stray(packet: { iid: number; destination: string; source: string; rloc: string }): void {
    const eid = hostEid(packet.iid, packet.destination);
    // Only for what was ours: anything else would let a stranger choose whom we send SMRs to.
    if (!this.site.wasOurs(eid) || !this.strayLimiter.allow(`${packet.rloc} ${packet.destination}`)) return;
    this.solicitor.solicitOne(eid, { rloc: packet.rloc, eid: hostEid(packet.iid, packet.source) });
  }

  /** A local RLOC came up or went down (its interface did). */
  setLocalRlocState(address: string, up: boolean): void {
    if (!this.site.setRlocState(address, up) || !this.running) return;
    // Nothing leaves from there, and nothing comes: probes need not wait for their turn to see it.
    for (const path of this.prober.statuses()) if (path.local === address) this.prober.suspect(path);
    this.registrar.registerNow();
    for (const entry of this.site.entries()) {
      if (!entry.moved && entry.rlocs.some((rloc) => rloc.address === address)) this.solicitor.solicit(entry);
    }
  }

  registrations(): RegistrationStatus[] {
    return this.registrar.status();
  }

  get xtrId(): string {
    return this.registrar.xtrId;
  }

  gauges(): Record<string, number> {
    return {
      learnt: this.cache.learntCount,
      outstanding: this.requester.outstanding,
      paths: this.prober.statuses().length,
    };
  }

  // -------------------------------------------------------------- messages

  /** Whether a Map-Request is for this xTR rather than for a map-resolver on the same address. */
  owns(request: MapRequest): boolean {
    const eid = request.records[0] && eidOf(request.records[0]);
    return eid !== undefined && this.site.own(eid) !== undefined;
  }

  mapRequest(request: MapRequest, datagram: ControlDatagram, inner?: InnerPacket): void {
    const { counters } = this.environment;
    if (!this.requestLimiter.allow(datagram.remote.address))
      return counters.add('drop.map-request-rate-limited');
    if (request.smr) return inner ? counters.add('drop.smr-encapsulated') : this.solicited(request);
    if (request.probe && inner) return counters.add('drop.probe-encapsulated');
    counters.add(request.probe ? 'received.rloc-probe' : 'received.map-request');
    if (request.dontMapReply) return;
    const records: MappingRecord[] = [];
    const asked: Eid[] = [];
    for (const record of request.records) {
      const eid = eidOf(record);
      if (!eid) continue;
      const probed = request.probe ? datagram.local : undefined;
      const own = this.site.own(eid);
      const answers: DatabaseEntry[] = [...(own ? [own] : []), ...this.site.moreSpecifics(eid)];
      if (answers.length > 0) asked.push(eid);
      records.push(...answers.map((entry) => this.site.record(entry, probed)));
      if (answers.length === 0 && request.probe) {
        // Not ours, but the question was whether the RLOC is reachable.
        records.push(
          toMappingRecord(eid, {
            ttlSeconds: 60,
            locators: [],
            action: 'natively-forward',
            authoritative: false,
          }),
        );
      }
    }
    if (records.length === 0) return counters.add('drop.map-request-not-ours');
    const destination = this.replyTo(request, datagram, inner);
    if (!destination) return counters.add('drop.map-request-no-itr-rloc');
    const source = sourceOf(request);
    if (source && isUsableRloc(destination.remote.address)) {
      for (const eid of asked) this.solicitor.noteRequest(destination.remote.address, source, eid);
    }
    counters.add(request.probe ? 'sent.rloc-probe-reply' : 'sent.map-reply');
    this.environment.send({
      ...destination,
      data: encodeMessage({
        type: 'map-reply',
        probe: request.probe,
        echoNonce: false,
        nonce: request.nonce,
        records: withinSize(records),
      }),
    });
  }

  /** Map-Replies go to an ITR-RLOC; to the one that the request came from if it is listed, so that a probe's answer takes the way back. */
  private replyTo(
    request: MapRequest,
    datagram: ControlDatagram,
    inner?: InnerPacket,
  ): Omit<ControlDatagram, 'data'> | undefined {
    const itrRlocs = request.itrRlocs
      .map(ipOf)
      .filter((address): address is string => address !== undefined && isUsableRloc(address));
    const { local, remote } = datagram;
    if (!inner && itrRlocs.includes(remote.address)) return { local, remote };
    const family = addressFamily(local);
    const sameFamily = itrRlocs.find((address) => addressFamily(address) === family);
    const address = sameFamily ?? itrRlocs.find((candidate) => this.site.localFor(candidate) !== undefined);
    if (address === undefined) return undefined;
    const from =
      sameFamily !== undefined && this.site.isLocalRloc(local) ? local : this.site.localFor(address);
    return from === undefined
      ? undefined
      : { local: from, remote: { address, port: inner ? inner.sourcePort : remote.port } };
  }

  mapReply(message: MapReply, datagram: ControlDatagram): void {
    if (this.prober.reply(message, datagram)) return;
    if (message.probe) return this.environment.counters.add('drop.probe-reply-unsolicited');
    this.environment.counters.add('received.map-reply');
    this.requester.reply(message);
  }

  mapNotify(message: MapNotify, datagram: ControlDatagram): void {
    this.registrar.notify(message, datagram);
  }

  /** An SMR came. Its only effect: what we have cached of that EID is asked for again, at the mapping system. */
  private solicited(request: MapRequest): void {
    const { counters, clock } = this.environment;
    counters.add('received.smr');
    const address = ipOf(request.sourceEid);
    if (address === undefined) return counters.add('drop.smr-without-source-eid');
    const eid = hostEid(instanceOf(request.sourceEid), address);
    const cached = this.cache.learntFor(eid.iid, eid.prefix);
    if (!cached) return counters.add('drop.smr-not-cached');
    const key = eidKey(eid);
    const last = this.smrAnswered.get(key);
    const ask = (): void => {
      this.smrAnswered.set(key, { at: clock.now() });
      counters.add('sent.smr-invoked');
      void this.ask(eid, true);
    };
    const wait = last ? last.at + SMR_QUIET_MS - clock.now() : 0;
    if (wait <= 0) return ask();
    // Within the quiet time one more question is asked at its end: the SMR may be about a second change.
    if (last && !last.again) last.again = this.timers.start(ask, wait);
  }

  /** A map-server says that another xTR has registered this. */
  private movedAway(record: MappingRecord): void {
    const eid = eidOf(record);
    const mapping = toMapping(record, 'map-notify');
    if (!eid || !mapping || mapping.locators.length === 0 || !this.site.markMoved(eid)) return;
    this.environment.counters.add('eid-moved-away');
    this.environment.log({
      level: 'warn',
      event: 'eid-moved-away',
      message: `${eid.prefix.text} is registered by another xTR now (${mapping.locators.map(({ rloc }) => rloc).join(', ')}); it is no longer registered from here`,
      eid: eid.prefix.text,
      iid: eid.iid,
    });
    this.cache.learn(mapping);
    this.solicitor.solicit(eid);
  }

  // -------------------------------------------------------------- upkeep

  private changed(change: MappingChange): void {
    for (const listener of this.changeListeners) listener(change);
    this.scheduleSync();
  }

  /** At once after a rest, but in a storm of changes not for each of them. */
  private scheduleSync(): void {
    if (this.syncScheduled || !this.running) return;
    this.syncScheduled = true;
    this.timers.start(
      () => {
        this.syncScheduled = false;
        this.syncPaths();
      },
      this.syncedAt + SYNC_INTERVAL_MS - this.environment.clock.now(),
    );
  }

  /** Paths are: each local RLOC with each remote locator of its family, and those with live traffic. */
  private syncPaths(): void {
    if (!this.running) return;
    this.syncedAt = this.environment.clock.now();
    const wanted = new Map<string, WantedPath>();
    for (const mapping of this.cache.all()) {
      if (mapping.locators.length === 0) continue;
      const eid: Eid = { iid: mapping.iid, prefix: parsePrefix(mapping.eid) };
      for (const { rloc, priority } of mapping.locators) {
        if (priority === 255 || this.site.isLocalRloc(rloc)) continue;
        for (const local of this.site.localRlocs(addressFamily(rloc))) {
          const path = { local, remote: rloc };
          wanted.set(pathKey(path), { path, eid, live: false });
        }
      }
    }
    for (const path of this.livePaths) {
      const key = pathKey(path);
      wanted.set(key, { ...(wanted.get(key) ?? { path }), live: true });
    }
    this.prober.sync(wanted);
  }

  private cachedPeers(iid: number): Peer[] {
    return this.cache.list(iid).flatMap((mapping) =>
      mapping.locators.map(({ rloc }) => ({
        rloc,
        eid: { iid: mapping.iid, prefix: parsePrefix(mapping.eid) },
      })),
    );
  }

  private noteUse(): void {
    const now = this.environment.clock.now();
    if (now - this.usedAt < NOTE_USE_MS) return;
    this.usedAt = now;
    const live = new Set(this.livePaths.map(({ remote }) => remote));
    for (const entry of this.cache.learntEntries())
      if (entry.mapping.locators.some(({ rloc }) => live.has(rloc))) entry.usedAt = now;
  }

  private scheduleRefresh(): void {
    this.timers.start(() => {
      this.refresh();
      this.scheduleRefresh();
    }, REFRESH_CHECK_MS);
  }

  /** Entries that were used since they were learnt do not get to expire. */
  private refresh(): void {
    const now = this.environment.clock.now();
    for (const { mapping, prefix, usedAt } of this.cache.learntEntries()) {
      const ttl = mapping.ttlSeconds * 1000;
      const learntAt = (mapping.expiresAt ?? Infinity) - ttl;
      const due = now >= learntAt + ttl * REFRESH_AT || now + 2 * REFRESH_CHECK_MS >= learntAt + ttl;
      if (due && mapping.locators.length > 0 && now - usedAt < ttl / 2)
        void this.ask({ iid: mapping.iid, prefix }, false);
    }
  }
}
