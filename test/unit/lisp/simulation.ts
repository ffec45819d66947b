// SPDX-License-Identifier: BSD-2-Clause

/**
 * Control planes joined by queues under a virtual clock: no sockets, no waiting, the same run every time.
 *
 *   site A xTR --.                     .-- map-server
 *                +-- queue, 5 ms, loss +
 *   site B xTR --'                     '-- site C xTR
 */
import { ControlPlane, type ControlPlaneOptions } from '../../../src/lisp/control-plane.js';
import { decapsulate } from '../../../src/lisp/codec/ecm.js';
import { decodeMessage, type ControlMessage } from '../../../src/lisp/codec/messages.js';
import {
  Counters,
  type ControlClock,
  type ControlDatagram,
  type ControlLogEntry,
} from '../../../src/lisp/environment.js';
import type { XtrOptions } from '../../../src/lisp/local-site.js';
import type { SiteOptions } from '../../../src/lisp/map-server.js';
import type { ControlState, ControlStore } from '../../../src/lisp/registration.js';

export class VirtualClock implements ControlClock {
  private time = 0;
  private sequence = 0;
  private readonly timers = new Map<number, { at: number; sequence: number; callback: () => void }>();

  now(): number {
    return this.time;
  }

  setTimeout(callback: () => void, ms: number): unknown {
    const sequence = ++this.sequence;
    this.timers.set(sequence, { at: this.time + Math.max(0, ms), sequence, callback });
    return sequence;
  }

  clearTimeout(timer: unknown): void {
    this.timers.delete(timer as number);
  }

  get pending(): number {
    return this.timers.size;
  }

  /** Runs everything due within `ms`, promises included. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    await settle();
    for (;;) {
      let next: { at: number; sequence: number; callback: () => void } | undefined;
      // In order of insertion, so of two at the same time the older one runs first.
      for (const timer of this.timers.values()) if (!next || timer.at < next.at) next = timer;
      if (!next || next.at > end) break;
      this.timers.delete(next.sequence);
      this.time = next.at;
      next.callback();
      await settle();
    }
    this.time = end;
  }
}

/** Lets chains of settled promises run out. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve();
}

/** mulberry32: small, seeded, good enough for tests. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Carried {
  at: number;
  from: string;
  to: string;
  /** Of the inner message where there is one. */
  message: ControlMessage;
  encapsulated: boolean;
  data: Uint8Array;
}

export class MemoryStore implements ControlStore {
  saves = 0;
  constructor(public state: ControlState | undefined = undefined) {}
  load(): ControlState | undefined {
    return this.state;
  }
  save(state: Required<ControlState>): void {
    this.saves++;
    this.state = { ...state };
  }
}

export class Network {
  readonly clock = new VirtualClock();
  readonly carried: Carried[] = [];
  readonly log: (ControlLogEntry & { host: string })[] = [];
  /** Share of datagrams that get lost. */
  loss = 0;
  delayMs = 5;
  /** Returns true for a datagram that does not get through. */
  blocked: (from: string, to: string) => boolean = () => false;
  private readonly random: () => number;
  private readonly addresses = new Map<string, ControlPlane>();

  constructor(seed = 1) {
    this.random = seededRandom(seed);
  }

  /** A host with these addresses. */
  host(
    name: string,
    addresses: string[],
    options: ControlPlaneOptions,
    store: ControlStore = new MemoryStore(),
  ): ControlPlane {
    const plane = new ControlPlane(
      {
        clock: this.clock,
        random: (octets) => Uint8Array.from({ length: octets }, () => Math.floor(this.random() * 256)),
        wallClock: () => 1_700_000_000_000 + this.clock.now(),
        send: (datagram) => this.send(datagram),
        log: (entry) => this.log.push({ ...entry, host: name }),
        counters: new Counters(),
      },
      options,
      store,
    );
    for (const address of addresses) this.addresses.set(address, plane);
    plane.start();
    return plane;
  }

  /** The host is gone without a word. */
  kill(plane: ControlPlane): void {
    for (const [address, other] of this.addresses) if (other === plane) this.addresses.delete(address);
    const { environment } = plane;
    const send = environment.send;
    environment.send = () => undefined;
    plane.stop();
    environment.send = send;
  }

  send({ local, remote, data }: ControlDatagram): void {
    let message = decodeMessage(data);
    const encapsulated = message.type === 'encapsulated';
    if (message.type === 'encapsulated') message = decapsulate(message).message;
    this.carried.push({ at: this.clock.now(), from: local, to: remote.address, message, encapsulated, data });
    if (this.blocked(local, remote.address) || this.random() < this.loss) return;
    this.clock.setTimeout(
      () =>
        this.inject(remote.address, { local: remote.address, remote: { address: local, port: 4342 }, data }),
      this.delayMs,
    );
  }

  /** As if it had come over the network. */
  inject(to: string, datagram: ControlDatagram): void {
    this.addresses.get(to)?.receive(datagram);
  }

  /** What was sent since `since`, by a filter. */
  sent(filter: (carried: Carried) => boolean, since = 0): Carried[] {
    return this.carried.filter((carried) => carried.at >= since && filter(carried));
  }
}

export const MAP_SERVER = '198.51.100.10';

export const siteOptions = (name: string, ...eids: string[]): SiteOptions => ({
  name,
  keyId: 1,
  key: `secret of ${name}`,
  algorithm: 'hmac-sha-256-128-hkdf',
  eids: eids.map((prefix) => ({ prefix, iid: 0, acceptMoreSpecifics: true })),
});

export const xtrOptions = (
  site: SiteOptions,
  rlocs: string[],
  eids: string[],
  more: Partial<XtrOptions> = {},
): XtrOptions => ({
  iid: 0,
  rlocs: rlocs.map((address) => ({ address, priority: 1, weight: 50 })),
  mapResolvers: [MAP_SERVER],
  mapServers: [
    { address: MAP_SERVER, keyId: site.keyId, key: site.key, algorithm: site.algorithm, proxyReply: false },
  ],
  database: eids.map((eid) => ({
    eid,
    iid: 0,
    ttlSeconds: 900,
    rlocs: rlocs.map((address) => ({ address, priority: 1, weight: 50 })),
  })),
  requestTimeoutMs: 500,
  requestRetries: 4,
  registerIntervalSeconds: 60,
  probe: { intervalMs: 1000, timeoutMs: 600, failures: 2 },
  ...more,
});
