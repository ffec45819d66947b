// SPDX-License-Identifier: BSD-2-Clause

/**
 * Map-server and map-resolver in one (RFC 9301 section 8).
 *
 *   Map-Register -> site and key -> MAC -> nonce -> EIDs allowed? -> registrations -> Map-Notify
 *                                                                        `-> registered by another xTR before: Map-Notify
 *                                                                            to that one, until it acknowledges
 *   Map-Request in ECM -> registered?  proxy: Map-Reply from here | else: the ECM goes on to the ETR
 *                      -> not:         negative Map-Reply of the hole around the EID
 *   A registration that begins, changes or ends -> SMR to the ITRs that asked for such EIDs
 */
import { ipOf } from './codec/address.js';
import {
  blankAuthentication,
  sign,
  verify,
  type AlgorithmName,
  type PresharedKey,
} from './codec/authentication.js';
import type { InnerPacket } from './codec/ecm.js';
import {
  CONTROL_PORT,
  encodeMessage,
  type Encapsulated,
  type MapNotify,
  type MapNotifyAck,
  type MapRegister,
  type MapRequest,
} from './codec/messages.js';
import { type LocatorRecord, type MappingRecord } from './codec/record.js';
import {
  BoundedMap,
  RateLimiter,
  Timers,
  type ControlDatagram,
  type ControlEnvironment,
} from './environment.js';
import { addressFamily, parsePrefix, prefixContains, prefixFromBytes, type Prefix } from './prefix.js';
import { PrefixTable } from './prefix-table.js';
import { Solicitor } from './soliciting.js';
import { eidOf, isUsableRloc, sourceOf, toMappingRecord, withinSize, type Eid } from './records.js';

export interface SiteOptions extends PresharedKey {
  name: string;
  eids: { prefix: string; iid: number; acceptMoreSpecifics: boolean }[];
}

/** Named as in the configuration (`Config.mapServer`). */
export interface MapServerOptions {
  addresses: string[];
  sites: SiteOptions[];
}

export interface RegistrationInfo {
  site: string;
  iid: number;
  eid: string;
  locators: { rloc: string; priority: number; weight: number; reachable: boolean }[];
  /** RLOC the registration came from, and the xTR-ID where it has one. */
  source: string;
  xtrId?: string;
  proxyReply: boolean;
  merge: boolean;
  lastSeenMs: number;
  expiresInMs: number;
}

export interface RejectedRegistration {
  source: string;
  eid: string;
  iid: number;
  why: string;
  count: number;
  lastSeenMs: number;
}

interface Site {
  options: SiteOptions;
  eids: { prefix: Prefix; iid: number; acceptMoreSpecifics: boolean }[];
}

/** What one xTR registered for one EID. */
interface Member {
  xtr: string;
  xtrId?: string;
  site: string;
  key: PresharedKey;
  record: MappingRecord;
  proxyReply: boolean;
  merge: boolean;
  /** Where it registered from and what it was registered at. */
  local: string;
  remote: { address: string; port: number };
  authenticationSize: number;
  lastSeen: number;
  expiresAt: number;
}

interface Registration extends Eid {
  /** By xTR. Several only when all of them want to be merged. */
  members: Map<string, Member>;
}

interface Notice {
  member: Member;
  data: Uint8Array;
  attempts: number;
  cancel(): void;
}

const REGISTRATION_MS = 3 * 60_000;
/** RFC 9301 section 8.3: a hole inside a configured site may be filled any moment, one outside hardly. */
const TTL_UNREGISTERED_SECONDS = 60;
const TTL_UNKNOWN_SECONDS = 15 * 60;
/** Section 5.7: three times every three seconds, then three more with doubled intervals. */
const NOTICE_RETRY_MS = [3000, 3000, 3000, 6000, 12_000, 24_000];
const MAX_NOTICES = 1024;
const MAX_REJECTED = 64;
const MAX_REGISTRATIONS = 100_000;
const MAX_RECORDS_ANSWERED = 16;
const SWEEP_MS = 5000;
/** Of one ITR, at how many of its RLOCs it is told of changes. */
const MAX_ITR_RLOCS_TOLD = 2;
/** The same question again within this time is a retry: the ETR is tried at another RLOC. */
const RETRY_WINDOW_MS = 5000;

export class MapServer {
  private sites: Site[] = [];
  private readonly registered = new PrefixTable<Registration>();
  private allowed = new PrefixTable<Eid>();
  /** Last nonce by site and xTR. Only authenticated messages get here. */
  private readonly nonces = new BoundedMap<string, bigint>(10_000);
  private readonly rejections = new BoundedMap<
    string,
    Omit<RejectedRegistration, 'lastSeenMs'> & { at: number }
  >(MAX_REJECTED);
  private readonly notices = new Map<bigint, Notice>();
  private readonly forwards = new BoundedMap<string, { turn: number; at: number }>(4096);
  private readonly sourceLimiter: RateLimiter<string>;
  private readonly requestLimiter: RateLimiter<string>;
  private readonly timers: Timers;
  private readonly solicitor: Solicitor;
  private nonce = 0n;

  constructor(
    private readonly environment: ControlEnvironment,
    private options: MapServerOptions,
  ) {
    this.timers = new Timers(environment.clock);
    this.solicitor = new Solicitor(
      environment,
      {
        localFor: (remote) => this.localFor(remote),
        localRlocs: (family) =>
          this.options.addresses.filter((address) => !family || addressFamily(address) === family),
        isLocalRloc: (address) => this.isLocal(address),
      },
      () => [],
    );
    this.sourceLimiter = new RateLimiter(environment.clock, 20, 100);
    this.requestLimiter = new RateLimiter(environment.clock, 200, 400);
    this.update(options);
  }

  start(): void {
    this.timers.start(() => {
      this.sweep();
      this.start();
    }, SWEEP_MS);
  }

  stop(): void {
    this.timers.stop();
    this.solicitor.stop();
    this.notices.clear();
  }

  isLocal(address: string): boolean {
    return this.options.addresses.includes(address);
  }

  /** Registrations that the new configuration no longer allows end. */
  update(options: MapServerOptions): void {
    this.options = options;
    this.sites = options.sites.map((site) => ({
      options: site,
      eids: site.eids.map(({ prefix, iid, acceptMoreSpecifics }) => ({
        prefix: parsePrefix(prefix),
        iid,
        acceptMoreSpecifics,
      })),
    }));
    this.allowed = new PrefixTable();
    for (const { eids } of this.sites)
      for (const { iid, prefix } of eids) this.allowed.set(iid, prefix, { iid, prefix });
    for (const registration of this.registered.values()) {
      for (const [xtr, member] of registration.members) {
        const site = this.sites.find(({ options: { name } }) => name === member.site);
        if (!site || !MapServer.allows(site, registration)) registration.members.delete(xtr);
      }
      if (registration.members.size === 0) this.registered.delete(registration.iid, registration.prefix);
    }
  }

  private static allows(site: Site, eid: Eid): boolean {
    return site.eids.some(
      ({ prefix, iid, acceptMoreSpecifics }) =>
        iid === eid.iid &&
        (acceptMoreSpecifics ? prefixContains(prefix, eid.prefix) : prefix.text === eid.prefix.text),
    );
  }

  // -------------------------------------------------------------- registration

  mapRegister(message: MapRegister, datagram: ControlDatagram): void {
    const { counters } = this.environment;
    if (!this.sourceLimiter.allow(datagram.remote.address))
      return counters.add('drop.map-register-rate-limited');
    const eids = message.records.map(eidOf);
    const first = eids[0];
    const refuse = (cause: string, why: string, eid: Eid | undefined = first): void => {
      counters.add(`drop.map-register-${cause}`);
      this.reject(datagram, eid, why);
    };
    if (!first || eids.some((eid) => eid === undefined))
      return refuse('bad-eid', 'it has no record, or one whose EID is no IP prefix');

    const candidates = this.sites.filter((site) => MapServer.allows(site, first));
    if (candidates.length === 0)
      return refuse(
        'eid-not-allowed',
        'no site is configured for this EID (or not for more specifics of it)',
      );
    let verdict: string = 'key-id-mismatch';
    const site = candidates.find(({ options }) => {
      const result = verify(datagram.data, options);
      // Of several refusals the one that got furthest says most.
      if (result === 'bad-mac' || verdict === 'key-id-mismatch') verdict = result;
      return result === 'ok';
    });
    if (!site) return refuse(verdict, explain(verdict, message, candidates));
    const stranger = eids.find((eid) => !MapServer.allows(site, eid!));
    if (stranger)
      return refuse('eid-not-allowed', `site ${site.options.name} may not register this EID`, stranger);

    const xtr = `${site.options.name} ${message.identity ? `${message.identity.xtrId}/${message.identity.siteId}` : datagram.remote.address}`;
    if (!this.isFresh(xtr, message, site.options.algorithm)) {
      return refuse(
        'replayed',
        'its nonce is not greater than the last one: a replay, or the xTR has lost its state and its clock is behind',
      );
    }
    counters.add('received.map-register');
    const accepted = this.apply(site, xtr, message, datagram);
    if (message.wantMapNotify) this.acknowledge(message, site.options, datagram, accepted);
  }

  /** RFC 9301 section 5.6. Peers of RFC 6833 send random nonces; they are the ones that use SHA-1. */
  private isFresh(xtr: string, message: MapRegister, algorithm: AlgorithmName): boolean {
    if (algorithm === 'hmac-sha-1-96') return true;
    const last = this.nonces.get(xtr);
    if (last !== undefined && message.nonce <= last) return false;
    this.nonces.set(xtr, message.nonce);
    return true;
  }

  private apply(site: Site, xtr: string, message: MapRegister, datagram: ControlDatagram): MappingRecord[] {
    const now = this.environment.clock.now();
    return message.records.map((record) => {
      const eid = eidOf(record)!;
      const old = this.registered.get(eid.iid, eid.prefix);
      if (record.ttlMinutes === 0) {
        if (old?.members.delete(xtr)) {
          this.environment.log({
            level: 'info',
            event: 'eid-withdrawn',
            message: `${eid.prefix.text} withdrawn by ${site.options.name}`,
            eid: eid.prefix.text,
          });
          if (old.members.size === 0) this.registered.delete(eid.iid, eid.prefix);
          this.solicitor.solicit(eid);
        }
        return record;
      }
      if (!old && this.registered.size >= MAX_REGISTRATIONS) {
        this.environment.counters.add('drop.map-register-full');
        return record;
      }
      const member: Member = {
        xtr,
        ...(message.identity && { xtrId: message.identity.xtrId }),
        site: site.options.name,
        key: site.options,
        record,
        proxyReply: message.proxyReply,
        merge: message.merge,
        local: datagram.local,
        remote: datagram.remote,
        authenticationSize: message.authentication.data.length,
        lastSeen: now,
        expiresAt: now + (message.useTtl ? Math.min(record.ttlMinutes, 24 * 60) * 60_000 : REGISTRATION_MS),
      };
      const registration: Registration = old ?? { ...eid, members: new Map() };
      const displaced = [...registration.members.values()].filter(
        (other) => other.xtr !== xtr && !(other.merge && member.merge),
      );
      const before = MapServer.merged(registration);
      for (const other of displaced) registration.members.delete(other.xtr);
      const known = registration.members.has(xtr);
      registration.members.set(xtr, member);
      this.registered.set(eid.iid, eid.prefix, registration);
      const after = MapServer.merged(registration)!;
      if (!known) {
        this.environment.log({
          level: 'info',
          event: 'eid-registered',
          message: `${eid.prefix.text} registered by ${site.options.name} from ${datagram.remote.address}`,
          eid: eid.prefix.text,
          iid: eid.iid,
        });
        // Whoever had it, alone or as part of a shorter prefix, learns that it has moved.
        const covering = this.registered
          .matches(eid.iid, eid.prefix)
          .filter(({ prefix }) => prefix.length < eid.prefix.length)
          .flatMap(({ members }) => [...members.values()].filter((other) => other.xtr !== xtr));
        for (const other of [...displaced, ...covering]) this.notify(other, after);
      }
      if (JSON.stringify(before?.locators) !== JSON.stringify(after.locators)) {
        this.solicitor.solicit(eid);
        // Merged registrants are told of each other (RFC 8378).
        for (const other of registration.members.values()) if (other.xtr !== xtr) this.notify(other, after);
      }
      return after;
    });
  }

  /** One record for an EID: that of its registrant, or the locators of all who want to be merged. */
  private static merged(registration: Registration): MappingRecord | undefined {
    const members = [...registration.members.values()];
    const [first] = members;
    if (!first || members.length === 1) return first?.record;
    const locators = new Map<string, LocatorRecord>();
    for (const { record } of members)
      for (const locator of record.locators) locators.set(JSON.stringify(locator.address), locator);
    return { ...first.record, locators: [...locators.values()].slice(0, 255) };
  }

  private acknowledge(
    message: MapRegister,
    key: PresharedKey,
    datagram: ControlDatagram,
    records: MappingRecord[],
  ): void {
    this.environment.counters.add('sent.map-notify');
    const notify: MapNotify = {
      type: 'map-notify',
      nonce: message.nonce,
      authentication: blankAuthentication(key, message.authentication.data.length),
      records,
    };
    notify.authentication.keyId = message.authentication.keyId;
    this.environment.send({
      local: datagram.local,
      remote: datagram.remote,
      data: sign(encodeMessage(notify), key),
    });
  }

  /** A Map-Notify that was not asked for, repeated until it is acknowledged. */
  private notify(member: Member, record: MappingRecord): void {
    if (this.notices.size >= MAX_NOTICES) return this.environment.counters.add('drop.too-many-map-notifies');
    // Receivers take only nonces that grow; the clock makes them grow across our own restarts.
    const floor = BigInt(Math.max(0, Math.floor(this.environment.wallClock()))) * 1000n;
    this.nonce = this.nonce + 1n > floor ? this.nonce + 1n : floor;
    const message: MapNotify = {
      type: 'map-notify',
      nonce: this.nonce,
      authentication: blankAuthentication(member.key, member.authenticationSize),
      records: [record],
    };
    const notice: Notice = {
      member,
      data: sign(encodeMessage(message), member.key),
      attempts: 0,
      cancel: () => undefined,
    };
    this.notices.set(this.nonce, notice);
    this.sendNotice(this.nonce, notice);
  }

  private sendNotice(nonce: bigint, notice: Notice): void {
    const delay = NOTICE_RETRY_MS[notice.attempts++];
    if (delay === undefined) {
      this.notices.delete(nonce);
      return this.environment.counters.add('map-notify-unacknowledged');
    }
    this.environment.counters.add('sent.map-notify');
    this.environment.send({ local: notice.member.local, remote: notice.member.remote, data: notice.data });
    notice.cancel = this.timers.start(() => this.sendNotice(nonce, notice), delay);
  }

  mapNotifyAck(message: MapNotifyAck, datagram: ControlDatagram): void {
    const { counters } = this.environment;
    const notice = this.notices.get(message.nonce);
    if (!notice) return counters.add('drop.map-notify-ack-unknown');
    const verdict = verify(datagram.data, notice.member.key);
    if (verdict !== 'ok') return counters.add(`drop.map-notify-ack-${verdict}`);
    counters.add('received.map-notify-ack');
    notice.cancel();
    this.notices.delete(message.nonce);
  }

  private reject(datagram: ControlDatagram, eid: Eid | undefined, why: string): void {
    const text = eid?.prefix.text ?? '(none)';
    const key = `${datagram.remote.address} ${eid?.iid ?? 0} ${text} ${why}`;
    const previous = this.rejections.get(key);
    this.rejections.set(key, {
      source: datagram.remote.address,
      eid: text,
      iid: eid?.iid ?? 0,
      why,
      count: (previous?.count ?? 0) + 1,
      at: this.environment.clock.now(),
    });
    if (previous) return;
    this.environment.log({
      level: 'warn',
      event: 'map-register-rejected',
      message: `Map-Register from ${datagram.remote.address} for ${text} rejected: ${why}`,
      source: datagram.remote.address,
      eid: text,
    });
  }

  private sweep(): void {
    const now = this.environment.clock.now();
    for (const registration of this.registered.values()) {
      for (const [xtr, member] of registration.members) {
        if (member.expiresAt > now) continue;
        registration.members.delete(xtr);
        this.environment.counters.add('registration-expired');
        this.environment.log({
          level: 'warn',
          event: 'registration-expired',
          message: `${registration.prefix.text}: nothing heard from ${member.site} (${member.remote.address}) any more`,
          eid: registration.prefix.text,
        });
      }
      if (registration.members.size > 0) continue;
      this.registered.delete(registration.iid, registration.prefix);
      this.solicitor.solicit(registration);
    }
  }

  registrations(): RegistrationInfo[] {
    const now = this.environment.clock.now();
    return this.registered.values().flatMap(({ iid, prefix, members }) =>
      [...members.values()].map((member) => ({
        site: member.site,
        iid,
        eid: prefix.text,
        locators: member.record.locators.flatMap(({ address, priority, weight, reachable }) => {
          const rloc = ipOf(address);
          return rloc === undefined ? [] : [{ rloc, priority, weight, reachable }];
        }),
        source: member.remote.address,
        ...(member.xtrId !== undefined && { xtrId: member.xtrId }),
        proxyReply: member.proxyReply,
        merge: member.merge,
        lastSeenMs: now - member.lastSeen,
        expiresInMs: Math.max(0, member.expiresAt - now),
      })),
    );
  }

  /** The newest last. */
  rejected(): RejectedRegistration[] {
    const now = this.environment.clock.now();
    return this.rejections.values().map(({ at, ...rest }) => ({ ...rest, lastSeenMs: now - at }));
  }

  // -------------------------------------------------------------- Map-Requests

  /** An encapsulated Map-Request, as map-resolver. `outer` goes on to the ETR as it is. */
  mapRequest(request: MapRequest, datagram: ControlDatagram, inner: InnerPacket, outer: Encapsulated): void {
    const { counters } = this.environment;
    if (!this.requestLimiter.allow(datagram.remote.address))
      return counters.add('drop.map-request-rate-limited');
    if (request.smr || request.probe) return counters.add('drop.map-request-odd');
    const record = request.records[0];
    const eid = record && eidOf(record);
    if (!eid) return counters.add('drop.map-request-bad-eid');
    counters.add('received.map-request');
    const source = sourceOf(request);
    const itrRlocs = request.itrRlocs
      .map(ipOf)
      .filter((address) => address !== undefined && isUsableRloc(address));
    if (source)
      for (const rloc of itrRlocs.slice(0, MAX_ITR_RLOCS_TOLD))
        this.solicitor.noteRequest(rloc!, source, eid);
    const registration = this.registered.match(eid.iid, eid.prefix);
    if (!registration) return this.answer(request, datagram, inner, [this.negative(eid)]);
    const members = [...registration.members.values()];
    if (members.every(({ proxyReply }) => proxyReply))
      return this.answer(request, datagram, inner, this.proxied(registration, eid));
    this.forward(registration, request, datagram, outer);
  }

  /** The covering record, and what is registered inside it unless the question was narrower (section 5.5). */
  private proxied(registration: Registration, asked: Eid): MappingRecord[] {
    const inside = this.registered
      .within(registration.iid, registration.prefix)
      .filter(
        ({ prefix }) =>
          prefix.length > registration.prefix.length &&
          (prefix.length > asked.prefix.length || !prefixContains(prefix, asked.prefix)),
      );
    return withinSize(
      [registration, ...inside].slice(0, MAX_RECORDS_ANSWERED).map((each) => {
        const record = MapServer.merged(each)!;
        // L means 'local to the sender': not to us.
        const locators = record.locators.map((locator) => ({ ...locator, local: false, probed: false }));
        return { ...record, locators, authoritative: false };
      }),
    );
  }

  /** The shortest prefix around an EID that overlaps nothing registered or configured (and stays inside its site). */
  private negative(eid: Eid): MappingRecord {
    const { iid } = eid;
    // Of a question about a prefix, its first address: the rest may hold registrations.
    const prefix = prefixFromBytes(eid.prefix.bytes, eid.prefix.bytes.length * 8);
    const site = this.allowed.match(iid, prefix);
    const length = Math.max(
      site?.prefix.length ?? 0,
      this.registered.longestShared(iid, prefix) + 1,
      this.allowed.longestShared(iid, prefix) + 1,
    );
    const configured = site !== undefined;
    this.environment.counters.add('sent.negative-map-reply');
    const hole = prefixFromBytes(prefix.bytes, length);
    return toMappingRecord(
      { iid, prefix: hole },
      {
        ttlSeconds: configured ? TTL_UNREGISTERED_SECONDS : TTL_UNKNOWN_SECONDS,
        locators: [],
        action: 'natively-forward',
        authoritative: false,
      },
    );
  }

  private answer(
    request: MapRequest,
    datagram: ControlDatagram,
    inner: InnerPacket,
    records: MappingRecord[],
  ): void {
    const itrRlocs = request.itrRlocs
      .map(ipOf)
      .filter((address): address is string => address !== undefined && isUsableRloc(address));
    const family = addressFamily(datagram.local);
    const sameFamily = itrRlocs.find((address) => addressFamily(address) === family);
    const address = sameFamily ?? itrRlocs[0];
    const local = sameFamily
      ? datagram.local
      : this.options.addresses.find((own) => address && addressFamily(own) === addressFamily(address));
    if (address === undefined || local === undefined)
      return this.environment.counters.add('drop.map-request-no-itr-rloc');
    this.environment.counters.add('sent.map-reply');
    this.environment.send({
      local,
      remote: { address, port: inner.sourcePort },
      data: encodeMessage({
        type: 'map-reply',
        probe: false,
        echoNonce: false,
        nonce: request.nonce,
        records,
      }),
    });
  }

  private forward(
    registration: Registration,
    request: MapRequest,
    datagram: ControlDatagram,
    outer: Encapsulated,
  ): void {
    const { counters, clock } = this.environment;
    // Where the ETRs registered from first; then, when the ITR asks again, their other locators.
    const members = [...registration.members.values()].sort((a, b) => b.lastSeen - a.lastSeen);
    const locators = members.flatMap(({ record }) =>
      record.locators
        .filter(({ reachable, priority }) => reachable && priority < 255)
        .map(({ address }) => ipOf(address)),
    );
    const targets = [...new Set([...members.map(({ remote }) => remote.address), ...locators])].flatMap(
      (address) => {
        const local =
          address === undefined || !isUsableRloc(address)
            ? undefined
            : this.localFor(address, datagram.local);
        return local === undefined ? [] : [{ address: address!, local }];
      },
    );
    const key = `${request.itrRlocs.map(ipOf).sort().join()} ${registration.iid} ${registration.prefix.text}`;
    const last = this.forwards.get(key);
    const turn = last && clock.now() - last.at < RETRY_WINDOW_MS ? last.turn + 1 : 0;
    this.forwards.set(key, { turn, at: clock.now() });
    const target = targets[turn % Math.max(1, targets.length)];
    if (!target) return counters.add('drop.map-request-etr-unreachable');
    counters.add('forwarded.map-request');
    this.environment.send({
      local: target.local,
      remote: { address: target.address, port: CONTROL_PORT },
      data: encodeMessage(outer),
    });
  }

  private localFor(remote: string, preferred?: string): string | undefined {
    const family = addressFamily(remote);
    if (preferred !== undefined && addressFamily(preferred) === family) return preferred;
    return this.options.addresses.find((address) => addressFamily(address) === family);
  }
}

function explain(verdict: string, message: MapRegister, candidates: Site[]): string {
  const names = candidates.map(({ options }) => options.name).join(', ');
  const { keyId, algorithmId } = message.authentication;
  switch (verdict) {
    case 'bad-mac':
      return `its authentication data is wrong: not made with the key of site ${names}`;
    case 'algorithm-mismatch':
      return `algorithm ${algorithmId} is not the one configured for site ${names}`;
    case 'key-id-mismatch':
      return `key-id ${keyId} is not the one configured for site ${names}`;
    default:
      return `its authentication data has ${message.authentication.data.length} octets, which algorithm ${algorithmId} does not make`;
  }
}
