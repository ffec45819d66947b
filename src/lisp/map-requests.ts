// SPDX-License-Identifier: BSD-2-Clause

/**
 * The ITR's questions (RFC 9301 section 8.1): one Map-Request per EID at a time, through the map-resolvers in turn, each
 * attempt with a random nonce of its own. Only a Map-Reply with such a nonce is taken.
 *
 *   request -> [Map-Request in ECM -> map-resolver] -> ... Map-Reply with our nonce -> answered
 *                 ^ time-out, next resolver, longer wait |
 *                 `--------------------------------------'-> no attempts left -> unreachable, not asked again for a while
 */
import { ipAddress } from './codec/address.js';
import { encapsulate } from './codec/ecm.js';
import { CONTROL_PORT, encodeMessage, type MapReply, type MapRequest } from './codec/messages.js';
import { BoundedMap, RateLimiter, Timers, randomNonce, type ControlEnvironment } from './environment.js';
import type { LocalSite, XtrOptions } from './local-site.js';
import type { Mapping } from './mapping.js';
import { addressFamily, prefixContains, prefixesOverlap } from './prefix.js';
import { eidAddress, eidKey, eidOf, toEidRecord, toMapping, type Eid } from './records.js';

export type RequestResult =
  /** What was answered: the record that covers the EID, and records inside the prefix that was asked for. */
  | { status: 'answered'; mappings: Mapping[] }
  | { status: 'unreachable'; reason: string; retryAfterMs: number };

interface Pending {
  eid: Eid;
  smrInvoked: boolean;
  attempts: number;
  nonces: bigint[];
  cancel(): void;
  settle(result: RequestResult): void;
  promise: Promise<RequestResult>;
}

const MAX_PENDING = 1024;
const BACK_OFF = 1.5;
const FIRST_PENALTY_MS = 1000;
const MAX_PENALTY_MS = 30_000;
/** Of all EIDs together: what a scan of the address space may cost the map-resolvers. */
const REQUESTS_PER_SECOND = 200;

export class MapRequester {
  private readonly pending = new Map<string, Pending>();
  private readonly byNonce = new Map<bigint, Pending>();
  private readonly penalties = new BoundedMap<string, { failures: number; until: number; reason: string }>(
    4096,
  );
  private readonly limiter: RateLimiter<string>;
  private readonly timers: Timers;
  /** The map-resolver and the local RLOC that last worked, as an attempt number to start from. */
  private preferred = 0;

  constructor(
    private readonly environment: ControlEnvironment,
    private readonly site: LocalSite,
    private options: Pick<XtrOptions, 'mapResolvers' | 'requestTimeoutMs' | 'requestRetries'>,
  ) {
    this.limiter = new RateLimiter(environment.clock, REQUESTS_PER_SECOND, REQUESTS_PER_SECOND);
    this.timers = new Timers(environment.clock);
  }

  update(options: Pick<XtrOptions, 'mapResolvers' | 'requestTimeoutMs' | 'requestRetries'>): void {
    if (options.mapResolvers.join() !== this.options.mapResolvers.join()) {
      this.preferred = 0;
      this.penalties.clear();
    }
    this.options = options;
  }

  get outstanding(): number {
    return this.pending.size;
  }

  /** Settles always. A second request for the same EID joins the first; after an SMR it follows it. */
  request(eid: Eid, smrInvoked = false): Promise<RequestResult> {
    const key = eidKey(eid);
    const current = this.pending.get(key);
    if (current) {
      // What is on its way may have been answered before the change that the SMR is about.
      return smrInvoked && !current.smrInvoked
        ? current.promise.then(() => this.request(eid, true))
        : current.promise;
    }
    const refuse = (reason: string, retryAfterMs: number): Promise<RequestResult> => {
      this.environment.counters.add('drop.map-request-refused');
      return Promise.resolve({ status: 'unreachable', reason, retryAfterMs });
    };
    if (this.options.mapResolvers.length === 0)
      return refuse('no map-resolver is configured', MAX_PENALTY_MS);
    const penalty = this.penalties.get(key);
    const wait = (penalty?.until ?? 0) - this.environment.clock.now();
    if (penalty && wait > 0 && !smrInvoked) return refuse(penalty.reason, wait);
    if (this.pending.size >= MAX_PENDING)
      return refuse('too many Map-Requests are outstanding', FIRST_PENALTY_MS);
    if (!this.limiter.allow('all')) return refuse('Map-Requests are rate-limited', FIRST_PENALTY_MS);

    let settle: (result: RequestResult) => void = () => undefined;
    const promise = new Promise<RequestResult>((resolve) => (settle = resolve));
    const pending: Pending = {
      eid,
      smrInvoked,
      attempts: 0,
      nonces: [],
      cancel: () => undefined,
      settle,
      promise,
    };
    this.pending.set(key, pending);
    this.attempt(pending);
    return promise;
  }

  private attempt(pending: Pending): void {
    const { mapResolvers, requestTimeoutMs, requestRetries } = this.options;
    const attempt = pending.attempts++;
    if (attempt > requestRetries || mapResolvers.length === 0) return this.fail(pending);
    this.send(pending, this.preferred + attempt);
    pending.cancel = this.timers.start(
      () => {
        this.environment.counters.add('map-request-timeout');
        this.attempt(pending);
      },
      requestTimeoutMs * BACK_OFF ** attempt,
    );
  }

  /** Every pair of map-resolver and local RLOC in turn, resolvers first. */
  private send(pending: Pending, turn: number): void {
    const { mapResolvers } = this.options;
    const resolver = mapResolvers[turn % mapResolvers.length]!;
    const local = this.site.localFor(resolver, Math.floor(turn / mapResolvers.length));
    if (local === undefined) {
      this.environment.counters.add('drop.no-local-rloc');
      return;
    }
    const { iid, prefix } = pending.eid;
    const nonce = randomNonce(this.environment);
    pending.nonces.push(nonce);
    this.byNonce.set(nonce, pending);
    const source = this.site.sourceEid(iid, prefix.family);
    const addressOf = (text: string): string => text.slice(0, text.indexOf('/'));
    // The one we ask from comes first: it is the one that the answer will be sent to.
    const itrRlocs = [local, ...this.site.localRlocs().filter((address) => address !== local)].slice(0, 32);
    const request: MapRequest = {
      type: 'map-request',
      authoritative: false,
      probe: false,
      smr: false,
      pitr: false,
      smrInvoked: pending.smrInvoked,
      localXtr: false,
      dontMapReply: false,
      nonce,
      sourceEid: source ? eidAddress(iid, source) : { kind: 'none' },
      itrRlocs: itrRlocs.map(ipAddress),
      records: [toEidRecord(pending.eid)],
    };
    // Inner addresses are of the EID's family; an RLOC will do where this site has no such EID.
    const innerSource =
      (source && addressOf(source.text)) ??
      this.site.localRlocs(prefix.family)[0] ??
      (prefix.family === 4 ? '0.0.0.0' : '::');
    this.environment.counters.add('sent.map-request');
    this.environment.send({
      local,
      remote: { address: resolver, port: CONTROL_PORT },
      data: encodeMessage(encapsulate(request, innerSource, addressOf(prefix.text))),
    });
  }

  private finish(pending: Pending, result: RequestResult): void {
    pending.cancel();
    this.pending.delete(eidKey(pending.eid));
    for (const nonce of pending.nonces) this.byNonce.delete(nonce);
    pending.settle(result);
  }

  private fail(pending: Pending): void {
    const key = eidKey(pending.eid);
    const failures = (this.penalties.get(key)?.failures ?? 0) + 1;
    const retryAfterMs = Math.min(MAX_PENALTY_MS, FIRST_PENALTY_MS * 2 ** (failures - 1));
    const resolvers = this.options.mapResolvers.join(', ');
    const reason = `no answer from the mapping system (map-resolvers ${resolvers}) after ${pending.attempts - 1} Map-Requests`;
    this.penalties.set(key, { failures, until: this.environment.clock.now() + retryAfterMs, reason });
    this.environment.counters.add('map-request-unanswered');
    this.environment.log({
      level: 'warn',
      event: 'map-request-unanswered',
      message: reason,
      eid: pending.eid.prefix.text,
      iid: pending.eid.iid,
    });
    this.finish(pending, { status: 'unreachable', reason, retryAfterMs });
  }

  /**
   * Takes a Map-Reply. Its source address says nothing (an ETR may answer from any RLOC, a map-server for it): what
   * counts is the nonce, and that it speaks of what was asked.
   */
  reply(message: MapReply): void {
    const { counters } = this.environment;
    const pending = this.byNonce.get(message.nonce);
    if (!pending) return counters.add('drop.map-reply-unsolicited');
    const { iid, prefix } = pending.eid;
    const mappings: Mapping[] = [];
    for (const record of message.records) {
      const eid = eidOf(record);
      const mapping = toMapping(record, 'map-reply');
      if (!eid || !mapping || eid.iid !== iid || !prefixesOverlap(eid.prefix, prefix)) {
        counters.add('drop.map-reply-record-not-asked-for');
        continue;
      }
      if (record.locators.length > 0 && mapping.locators.length === 0) {
        counters.add('drop.map-reply-no-usable-locator');
        continue;
      }
      mappings.push(mapping);
    }
    // Not what was asked for: wait on, the true answer may still come.
    if (mappings.length === 0) return counters.add('drop.map-reply-useless');
    const attempt = pending.nonces.indexOf(message.nonce);
    this.preferred =
      (this.preferred + Math.max(0, attempt)) %
      Math.max(1, this.options.mapResolvers.length * this.site.localRlocs().length);
    this.penalties.delete(eidKey(pending.eid));
    this.finish(pending, { status: 'answered', mappings });
    this.settleCovered(mappings);
  }

  /** Others that wait for an EID which this answer covers need not wait any longer. */
  private settleCovered(mappings: Mapping[]): void {
    for (const mapping of mappings) {
      for (const other of [...this.pending.values()]) {
        if (
          other.eid.iid !== mapping.iid ||
          other.smrInvoked ||
          addressFamily(mapping.eid) !== other.eid.prefix.family
        )
          continue;
        if (prefixContains(mapping.eid, other.eid.prefix))
          this.finish(other, { status: 'answered', mappings: [mapping] });
      }
    }
  }

  stop(): void {
    this.timers.stop();
    for (const pending of [...this.pending.values()]) {
      this.finish(pending, {
        status: 'unreachable',
        reason: 'the control plane is stopping',
        retryAfterMs: MAX_PENALTY_MS,
      });
    }
  }
}
