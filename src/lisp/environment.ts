// SPDX-License-Identifier: BSD-2-Clause

/** What the state machines need of the world: time, chance, a way out, a place to complain. No sockets. */

export interface ControlClock {
  /** Milliseconds, monotonic. */
  now(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface ControlDatagram {
  /** RLOC it came to, or is to leave from. */
  local: string;
  remote: { address: string; port: number };
  data: Uint8Array;
}

export interface ControlLogEntry {
  level: 'debug' | 'info' | 'warn';
  /** Stable name, e.g. 'map-server-silent'. */
  event: string;
  /** A sentence. */
  message: string;
  [field: string]: unknown;
}

export interface ControlEnvironment {
  clock: ControlClock;
  /** Cryptographically strong octets (seeded ones in simulations). */
  random(octets: number): Uint8Array;
  /** Milliseconds since 1970; only for nonces that must grow across a loss of state. */
  wallClock(): number;
  send(datagram: ControlDatagram): void;
  log(entry: ControlLogEntry): void;
  counters: Counters;
}

/** Named counters, exposed as metrics. Names are constants of the program, so their number is bounded. */
export class Counters {
  private readonly values = new Map<string, number>();

  add(name: string, amount = 1): void {
    this.values.set(name, (this.values.get(name) ?? 0) + amount);
  }

  get(name: string): number {
    return this.values.get(name) ?? 0;
  }

  /** 'sent.map-request', 'received.map-reply', 'drop.bad-mac', ... */
  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.values].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

export const randomNonce = (environment: Pick<ControlEnvironment, 'random'>): bigint =>
  Buffer.from(environment.random(8)).readBigUInt64BE();

/** Timers that end together with their owner; after that none starts any more. */
export class Timers {
  private readonly running = new Set<{ handle: unknown }>();
  private stopped = false;

  constructor(private readonly clock: ControlClock) {}

  start(callback: () => void, ms: number): () => void {
    if (this.stopped) return () => undefined;
    const timer: { handle: unknown } = { handle: undefined };
    timer.handle = this.clock.setTimeout(
      () => {
        this.running.delete(timer);
        callback();
      },
      Math.max(0, ms),
    );
    this.running.add(timer);
    return () => {
      if (this.running.delete(timer)) this.clock.clearTimeout(timer.handle);
    };
  }

  stop(): void {
    this.stopped = true;
    for (const timer of this.running) this.clock.clearTimeout(timer.handle);
    this.running.clear();
  }
}

/** A map of bounded size that forgets the least recently touched. */
export class BoundedMap<K, V> {
  private readonly map = new Map<K, V>();

  constructor(private readonly capacity: number) {}

  get size(): number {
    return this.map.size;
  }

  get(key: K): V | undefined {
    return this.map.get(key);
  }

  set(key: K, value: V): void {
    this.map.delete(key);
    this.map.set(key, value);
    if (this.map.size > this.capacity) this.map.delete(this.map.keys().next().value as K);
  }

  delete(key: K): boolean {
    return this.map.delete(key);
  }

  clear(): void {
    this.map.clear();
  }

  entries(): [K, V][] {
    return [...this.map];
  }

  values(): V[] {
    return [...this.map.values()];
  }
}

/** Token buckets, one per key (a peer's address, an EID); keys are bounded, the least recently used goes first. */
export class RateLimiter<K> {
  private readonly buckets: BoundedMap<K, { tokens: number; at: number }>;

  constructor(
    private readonly clock: ControlClock,
    private readonly perSecond: number,
    private readonly burst: number,
    capacity = 4096,
  ) {
    this.buckets = new BoundedMap(capacity);
  }

  allow(key: K): boolean {
    const now = this.clock.now();
    const bucket = this.buckets.get(key) ?? { tokens: this.burst, at: now };
    bucket.tokens = Math.min(this.burst, bucket.tokens + ((now - bucket.at) / 1000) * this.perSecond);
    bucket.at = now;
    const allowed = bucket.tokens >= 1;
    if (allowed) bucket.tokens -= 1;
    this.buckets.set(key, bucket);
    return allowed;
  }
}
