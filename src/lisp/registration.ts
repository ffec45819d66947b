// SPDX-License-Identifier: BSD-2-Clause

/**
 * The ETR's registrations (RFC 9301 sections 5.6, 5.7, 8.2): all EIDs to all map-servers, again every interval, and a
 * Map-Notify wanted for each.
 *
 *   pending -- Map-Notify verified --> registered -- interval --> Map-Register, waiting again
 *      | no Map-Notify: again after 1, 2, 4 ... 60 s, from the next local RLOC
 *      `-- four unanswered --> silent      a Map-Notify that does not verify --> refused
 *
 * A Map-Notify nobody asked for tells that another xTR has registered one of our EIDs: the EID has moved.
 */
import { blankAuthentication, sign, verify } from './codec/authentication.js';
import {
  CONTROL_PORT,
  encodeMessage,
  type MapNotify,
  type MapRegister,
  type XtrIdentity,
} from './codec/messages.js';
import { mappingRecord, type MappingRecord } from './codec/record.js';
import { BoundedMap, Timers, type ControlDatagram, type ControlEnvironment } from './environment.js';
import type { DatabaseEntry, LocalSite, MapServerPeerOptions, XtrOptions } from './local-site.js';
import { eidOf } from './records.js';

export type RegistrationState = 'pending' | 'registered' | 'silent' | 'refused';

export interface RegistrationStatus {
  mapServer: string;
  state: RegistrationState;
  /** Why it is so, and what to look at. */
  detail: string;
  eids: { iid: number; eid: string }[];
  /** Milliseconds ago. */
  lastAckMs?: number;
}

/** What must survive a restart. */
export interface ControlState {
  /** 32 hexadecimal digits; with the Site-ID (which is zero here) the name under which map-servers know this xTR. */
  xtrId?: string;
  /** Decimal. Map-Register nonces up to this may have been used. */
  registerNonce?: string;
}

export interface ControlStore {
  load(): ControlState | undefined;
  save(state: Required<ControlState>): void;
}

interface Peer {
  options: MapServerPeerOptions;
  state: RegistrationState;
  detail: string;
  /** Rounds without an answer. */
  unanswered: number;
  /** Nonces of the current round that are not acknowledged. */
  waiting: Set<bigint>;
  /** Every nonce used lately, so that a late or doubled Map-Notify is known for what it is. */
  sent: BoundedMap<bigint, true>;
  lastAckAt?: number;
  /** Of Map-Notifies that nobody asked for: only newer ones count. */
  lastNoticeNonce: bigint;
  lastAckDetail?: string;
  cancel(): void;
}

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;
const SILENT_AFTER = 4;
/** Fits the smallest path MTU that IPv6 promises, less headers. */
const MAX_MESSAGE = 1200;
const NONCES_RESERVED = 10_000n;
const SITE_ID = '0'.repeat(16);

export class Registrar {
  private readonly peers = new Map<string, Peer>();
  private readonly timers: Timers;
  private readonly identity: XtrIdentity;
  private nonce: bigint;
  private reserved: bigint;
  private running = false;

  constructor(
    private readonly environment: ControlEnvironment,
    private readonly site: LocalSite,
    private options: Pick<XtrOptions, 'mapServers' | 'registerIntervalSeconds'>,
    private readonly store: ControlStore,
    /** A record of a verified, unasked Map-Notify whose locators are not ours. */
    private readonly onForeignRecord: (record: MappingRecord) => void,
  ) {
    this.timers = new Timers(environment.clock);
    const saved = store.load();
    const xtrId = /^[0-9a-f]{32}$/.test(saved?.xtrId ?? '')
      ? saved!.xtrId!
      : Buffer.from(environment.random(16)).toString('hex');
    this.identity = { xtrId, siteId: SITE_ID };
    // The wall clock in microseconds as a floor: nonces grow even if the state was lost.
    const floor = BigInt(Math.max(0, Math.floor(environment.wallClock()))) * 1000n;
    const last = /^[0-9]{1,20}$/.test(saved?.registerNonce ?? '') ? BigInt(saved!.registerNonce!) : 0n;
    this.nonce = last > floor ? last : floor;
    this.reserved = this.nonce;
  }

  get xtrId(): string {
    return this.identity.xtrId;
  }

  private nextNonce(): bigint {
    this.nonce = BigInt.asUintN(64, this.nonce + 1n);
    if (this.nonce >= this.reserved) {
      // Saved in strides, ahead of use: a restart skips numbers, it never repeats one.
      this.reserved = this.nonce + NONCES_RESERVED;
      this.store.save({ xtrId: this.identity.xtrId, registerNonce: this.reserved.toString() });
    }
    return this.nonce;
  }

  start(): void {
    this.running = true;
    this.syncPeers();
  }

  update(options: Pick<XtrOptions, 'mapServers' | 'registerIntervalSeconds'>): void {
    this.options = options;
    if (this.running) this.syncPeers();
  }

  private syncPeers(): void {
    const wanted = new Map(this.options.mapServers.map((options) => [options.address, options]));
    for (const [address, peer] of this.peers) {
      if (wanted.has(address)) continue;
      this.sendRound(peer, 0);
      peer.cancel();
      this.peers.delete(address);
    }
    for (const [address, options] of wanted) {
      const peer = this.peers.get(address);
      if (peer && JSON.stringify(peer.options) === JSON.stringify(options)) continue;
      peer?.cancel();
      const fresh: Peer = {
        options,
        state: 'pending',
        detail: 'not acknowledged yet',
        unanswered: 0,
        waiting: new Set(),
        sent: new BoundedMap(256),
        lastNoticeNonce: peer?.lastNoticeNonce ?? 0n,
        cancel: () => undefined,
      };
      this.peers.set(address, fresh);
      this.register(fresh);
    }
  }

  /** Something about our EIDs or locators changed: tell every map-server now. */
  registerNow(): void {
    for (const peer of this.peers.values()) {
      peer.unanswered = 0;
      this.register(peer);
    }
  }

  /** Tells every map-server that these EIDs are no longer here (TTL 0). */
  withdraw(entries: DatabaseEntry[]): void {
    const registered = entries.filter(({ moved }) => !moved);
    for (const peer of this.peers.values()) this.sendRound(peer, 0, registered);
  }

  private register(peer: Peer): void {
    peer.cancel();
    peer.waiting.clear();
    const nonces = this.sendRound(peer);
    if (nonces.length === 0) {
      if (this.site.entries().every(({ moved }) => moved))
        this.setState(peer, 'pending', 'no EIDs to register');
      return;
    }
    peer.waiting = new Set(nonces);
    peer.cancel = this.timers.start(
      () => this.unanswered(peer),
      Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(peer.unanswered, 16)),
    );
  }

  private unanswered(peer: Peer): void {
    peer.unanswered++;
    this.environment.counters.add('map-register-unanswered');
    if (peer.unanswered >= SILENT_AFTER && peer.state !== 'silent' && peer.state !== 'refused') {
      const why =
        `${peer.unanswered} Map-Registers in a row unanswered: the map-server is down or unreachable, or does not accept ` +
        `key-id ${peer.options.keyId} with ${peer.options.algorithm}, or one of the EIDs is not allowed for this key (map-servers refuse silently; see its log)`;
      this.setState(peer, 'silent', why);
    }
    this.register(peer);
  }

  private setState(peer: Peer, state: RegistrationState, detail: string): void {
    if (peer.state !== state) {
      this.environment.log({
        level: state === 'registered' || state === 'pending' ? 'info' : 'warn',
        event: `map-server-${state}`,
        message: `map-server ${peer.options.address}: ${detail}`,
        mapServer: peer.options.address,
      });
    }
    peer.state = state;
    peer.detail = detail;
  }

  /** Sends all records in as many messages as they need; returns their nonces. */
  private sendRound(
    peer: Peer,
    ttlSeconds?: number,
    entries = this.site.entries().filter(({ moved }) => !moved),
  ): bigint[] {
    const { options } = peer;
    const local = this.site.localFor(options.address, peer.unanswered);
    if (local === undefined) {
      if (entries.length > 0)
        this.setState(peer, 'silent', `no local RLOC is of the address family of ${options.address}`);
      return [];
    }
    const nonces: bigint[] = [];
    for (const records of chunks(entries.map((entry) => this.site.record(entry, undefined, ttlSeconds)))) {
      const nonce = this.nextNonce();
      const message: MapRegister = {
        type: 'map-register',
        proxyReply: options.proxyReply,
        security: false,
        useTtl: false,
        merge: false,
        wantMapNotify: true,
        nonce,
        authentication: blankAuthentication(options),
        records,
        identity: this.identity,
      };
      peer.sent.set(nonce, true);
      nonces.push(nonce);
      this.environment.counters.add('sent.map-register');
      this.environment.send({
        local,
        remote: { address: options.address, port: CONTROL_PORT },
        data: sign(encodeMessage(message), options),
      });
    }
    return nonces;
  }

  notify(message: MapNotify, datagram: ControlDatagram): void {
    const { counters, clock } = this.environment;
    const peer = this.peers.get(datagram.remote.address);
    if (!peer) return counters.add('drop.map-notify-unknown-map-server');
    const verdict = verify(datagram.data, peer.options);
    if (verdict !== 'ok') {
      counters.add(`drop.map-notify-${verdict}`);
      // The nonce shows that it comes from somebody who saw our Map-Register; anything else proves nothing.
      if (peer.waiting.has(message.nonce)) {
        this.setState(
          peer,
          'refused',
          `its Map-Notify does not verify with our key (${verdict}): key, key-id or algorithm differ`,
        );
      }
      return;
    }
    counters.add('received.map-notify');
    if (peer.waiting.delete(message.nonce)) {
      if (peer.waiting.size > 0) return;
      peer.unanswered = 0;
      peer.lastAckAt = clock.now();
      this.setState(peer, 'registered', 'acknowledged');
      peer.cancel();
      peer.cancel = this.timers.start(() => this.register(peer), this.options.registerIntervalSeconds * 1000);
      return;
    }
    if (peer.sent.get(message.nonce)) return counters.add('drop.map-notify-duplicate');
    this.acknowledge(message, peer, datagram);
    if (message.nonce <= peer.lastNoticeNonce) return counters.add('drop.map-notify-replayed');
    peer.lastNoticeNonce = message.nonce;
    for (const record of message.records) {
      const ours = record.locators.some(
        ({ address }) =>
          address.kind !== 'none' &&
          'address' in address &&
          typeof address.address === 'string' &&
          this.site.isLocalRloc(address.address),
      );
      if (!ours && eidOf(record)) this.onForeignRecord(record);
    }
  }

  private acknowledge(message: MapNotify, peer: Peer, datagram: ControlDatagram): void {
    this.environment.counters.add('sent.map-notify-ack');
    const data = encodeMessage({
      ...message,
      type: 'map-notify-ack',
      authentication: blankAuthentication(peer.options),
    });
    this.environment.send({ local: datagram.local, remote: datagram.remote, data: sign(data, peer.options) });
  }

  status(): RegistrationStatus[] {
    const eids = this.site
      .entries()
      .filter(({ moved }) => !moved)
      .map(({ iid, prefix }) => ({ iid, eid: prefix.text }));
    return [...this.peers.values()].map(({ options, state, detail, lastAckAt }) => ({
      mapServer: options.address,
      state,
      detail,
      eids,
      ...(lastAckAt !== undefined && { lastAckMs: this.environment.clock.now() - lastAckAt }),
    }));
  }

  stop(): void {
    if (!this.running) return;
    this.running = false;
    this.withdraw(this.site.entries());
    this.timers.stop();
    this.peers.clear();
  }
}

function chunks(records: MappingRecord[]): MappingRecord[][] {
  const result: MappingRecord[][] = [];
  let size = Infinity;
  for (const record of records) {
    const length = mappingRecord.length(record);
    if (size + length > MAX_MESSAGE || result.at(-1)!.length >= 255) {
      result.push([]);
      size = 64;
    }
    result.at(-1)!.push(record);
    size += length;
  }
  return result;
}
