// SPDX-License-Identifier: BSD-2-Clause

/**
 * Solicit-Map-Requests (RFC 9301 section 6.1): 'what you have cached for this EID is old, ask again'. They are not
 * authenticated, so what they say is never believed; they only make the receiver ask the mapping system.
 *
 * An xTR sends them to those who may have its mapping: the locators of its map-cache (it talks to them, so they talk to
 * it), and ITRs that asked it for the EID lately. A map-server sends them to ITRs that asked it: so they hear also of an
 * EID that has just been registered, and of one whose former xTR cannot tell them any more.
 */
import { ipAddress, type LispAddress } from './codec/address.js';
import { CONTROL_PORT, encodeMessage } from './codec/messages.js';
import { BoundedMap, RateLimiter, Timers, randomNonce, type ControlEnvironment } from './environment.js';
import { addressFamily, prefixContains, prefixesOverlap } from './prefix.js';
import { eidAddress, eidKey, toEidRecord, type Eid } from './records.js';

export interface Peer {
  rloc: string;
  /** The peer's own EID, for the EID record of the SMR. */
  eid: Eid;
}

/** Not acknowledged, so said more than once. */
const REPEAT_AFTER_MS = [0, 500, 2000];
const MAX_PEERS = 4096;
const TALKER_MEMORY_MS = 24 * 3600 * 1000;
/** Of one peer, how many EIDs it asked for are named to it one by one. */
const MAX_NAMED = 16;

/** Where SMRs leave from. */
export interface SolicitorSite {
  localFor(remote: string): string | undefined;
  localRlocs(family?: 4 | 6): string[];
  isLocalRloc(address: string): boolean;
}

export class Solicitor {
  /** Who asked us for what. */
  private readonly talkers = new BoundedMap<string, Peer & { asked: Eid; at: number }>(MAX_PEERS);
  private readonly limiter: RateLimiter<string>;
  private readonly running = new BoundedMap<string, () => void>(256);
  private readonly timers: Timers;

  constructor(
    private readonly environment: ControlEnvironment,
    private readonly site: SolicitorSite,
    /** Peers by the map-cache, of one instance-id. */
    private readonly cached: (iid: number) => Peer[],
  ) {
    this.timers = new Timers(environment.clock);
    this.limiter = new RateLimiter(environment.clock, 2, 6);
  }

  noteRequest(rloc: string, source: Eid, asked: Eid): void {
    this.talkers.set(`${rloc}>${eidKey(asked)}`, {
      rloc,
      eid: source,
      asked,
      at: this.environment.clock.now(),
    });
  }

  /** Our mapping of this EID has changed. */
  solicit(eid: Eid): void {
    const key = eidKey(eid);
    this.running.get(key)?.();
    const changedAt = this.environment.clock.now();
    const cancels = REPEAT_AFTER_MS.map((delay) =>
      this.timers.start(() => this.sendAll(eid, changedAt), delay),
    );
    this.running.set(key, () => cancels.forEach((cancel) => cancel()));
  }

  private sendAll(eid: Eid, changedAt: number): void {
    const since = this.environment.clock.now() - TALKER_MEMORY_MS;
    // Who has asked since the change knows, at whichever RLOC; this is what ends the repetition.
    const knowing = this.talkers
      .values()
      .filter(
        ({ at, asked }) =>
          at >= changedAt && asked.iid === eid.iid && prefixesOverlap(asked.prefix, eid.prefix),
      );
    const knows = (peer: Peer): boolean =>
      knowing.some(
        (other) => other.eid.iid === peer.eid.iid && prefixContains(peer.eid.prefix, other.eid.prefix),
      );
    const named = new Map<string, number>();
    const told = new Set<string>();
    for (const peer of this.talkers.values()) {
      if (peer.at < since || peer.asked.iid !== eid.iid || !prefixesOverlap(peer.asked.prefix, eid.prefix))
        continue;
      // Named by the address it asked for: that one is in its cache, the first of our prefix need not be.
      const source = peer.asked.prefix.length > eid.prefix.length ? peer.asked : eid;
      const count = (named.get(peer.rloc) ?? 0) + 1;
      if (count > MAX_NAMED) continue;
      named.set(peer.rloc, count);
      told.add(peer.rloc);
      if (!knows(peer) && !this.site.isLocalRloc(peer.rloc)) this.send(source, peer);
    }
    for (const peer of this.cached(eid.iid).slice(0, MAX_PEERS)) {
      if (told.has(peer.rloc) || knows(peer) || this.site.isLocalRloc(peer.rloc)) continue;
      told.add(peer.rloc);
      this.send(eid, peer);
    }
  }

  /** Traffic came from `rloc` for an EID that was ours once. */
  solicitOne(eid: Eid, peer: Peer): void {
    this.send(eid, peer);
  }

  private send(eid: Eid, peer: Peer): void {
    const { counters } = this.environment;
    if (!this.limiter.allow(`${peer.rloc} ${eidKey(eid)}`)) return counters.add('drop.smr-rate-limited');
    const local = this.site.localFor(peer.rloc);
    if (local === undefined) return counters.add('drop.no-local-rloc');
    const itrRlocs: LispAddress[] = this.site
      .localRlocs(addressFamily(peer.rloc))
      .slice(0, 32)
      .map(ipAddress);
    counters.add('sent.smr');
    this.environment.send({
      local,
      remote: { address: peer.rloc, port: CONTROL_PORT },
      data: encodeMessage({
        type: 'map-request',
        authoritative: false,
        probe: false,
        smr: true,
        pitr: false,
        smrInvoked: false,
        localXtr: false,
        dontMapReply: false,
        nonce: randomNonce(this.environment),
        // The address says which mapping; the field has no room for its length.
        sourceEid: eidAddress(eid.iid, eid.prefix),
        itrRlocs,
        records: [toEidRecord(peer.eid)],
      }),
    });
  }

  stop(): void {
    this.timers.stop();
    this.talkers.clear();
    this.running.clear();
  }
}
