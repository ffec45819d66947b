// SPDX-License-Identifier: BSD-2-Clause

/**
 * Solicit-Map-Requests (RFC 9301 section 6.1): 'what you have cached for this EID is old, ask again'. They are not
 * authenticated, so what they say is never believed; they only make the receiver ask the mapping system.
 *
 * They go to those who may have our mapping: the locators of the map-cache (we talk to them, so they talk to us), and
 * ITRs that asked us for the EID lately.
 */
import { ipAddress, type LispAddress } from './codec/address.js';
import { CONTROL_PORT, encodeMessage } from './codec/messages.js';
import { BoundedMap, RateLimiter, Timers, randomNonce, type ControlEnvironment } from './environment.js';
import type { LocalSite } from './local-site.js';
import { addressFamily, prefixesOverlap } from './prefix.js';
import { eidAddress, eidKey, toEidRecord, type Eid } from './records.js';

export interface Peer {
  rloc: string;
  /** The peer's own EID, for the EID record of the SMR. */
  eid: Eid;
}

/** Not acknowledged, so said more than once. */
const REPEAT_AFTER_MS = [0, 500, 2000];
const MAX_PEERS = 1024;
const TALKER_MEMORY_MS = 24 * 3600 * 1000;

export class Solicitor {
  /** Who asked us for what. */
  private readonly talkers = new BoundedMap<string, Peer & { asked: Eid; at: number }>(MAX_PEERS);
  private readonly limiter: RateLimiter<string>;
  private readonly running = new BoundedMap<string, () => void>(256);
  private readonly timers: Timers;

  constructor(
    private readonly environment: ControlEnvironment,
    private readonly site: LocalSite,
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
    const cancels = REPEAT_AFTER_MS.map((delay) => this.timers.start(() => this.sendAll(eid), delay));
    this.running.set(key, () => cancels.forEach((cancel) => cancel()));
  }

  private sendAll(eid: Eid): void {
    const since = this.environment.clock.now() - TALKER_MEMORY_MS;
    const talkers = this.talkers
      .values()
      .filter(
        ({ asked, at }) => at >= since && asked.iid === eid.iid && prefixesOverlap(asked.prefix, eid.prefix),
      );
    const peers = new Map([...talkers, ...this.cached(eid.iid)].map((peer) => [peer.rloc, peer]));
    for (const peer of [...peers.values()].slice(0, MAX_PEERS)) {
      if (!this.site.isLocalRloc(peer.rloc)) this.send(eid, peer);
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
