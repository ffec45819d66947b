// SPDX-License-Identifier: BSD-2-Clause

/**
 * SYNs that wait for a decision, and what was decided about those that came back.
 *
 *   new -> held --decide()--> decided: the same SYN again goes on at once, for as long as a client repeats it
 *            '---time over--> expired: as decided, and the owner is told
 *
 * A SYN with another sequence number is another connection, and supersedes what was known of its addresses.
 */
import type { Clock } from '../platform.js';

export interface HoldLimits {
  /** Most SYNs held at a time. */
  max: number;
  ms: number;
  /** How long a decision is remembered, and how many. */
  decidedMs: number;
  decidedMax: number;
}

export const HOLD_LIMITS: HoldLimits = { max: 1024, ms: 10_000, decidedMs: 75_000, decidedMax: 16_384 };

/**
 * hold: it is new and is the caller's to decide about. repeated: drop it, it is held already. pass: it goes on, because that was
 * decided before or as many as may are held.
 */
export type Verdict = 'hold' | 'repeated' | 'pass';

interface Held {
  sequence: number;
  timer: unknown;
  onExpired(): void;
}

export class HeldSyns {
  readonly #held = new Map<string, Held>();
  readonly #decided = new Map<string, { sequence: number; until: number }>();
  readonly counters = { held: 0, repeated: 0, overflowed: 0, expired: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly limits: HoldLimits = HOLD_LIMITS,
  ) {}

  get size(): number {
    return this.#held.size;
  }

  /** `onExpired`: nobody decided in time; it is not held any more and should be let go. */
  offer(key: string, sequence: number, onExpired: () => void): Verdict {
    const held = this.#held.get(key);
    if (held?.sequence === sequence) {
      this.counters.repeated++;
      return 'repeated';
    }
    const decided = this.#decided.get(key);
    if (!held && decided?.sequence === sequence && decided.until > this.clock.now()) return 'pass';
    // The client has given up the attempt before: what is still done about it ends without it.
    if (held) this.#expire(key, held);
    if (this.#held.size >= this.limits.max) {
      this.counters.overflowed++;
      return 'pass';
    }
    this.#decided.delete(key);
    const fresh: Held = {
      sequence,
      onExpired,
      timer: this.clock.setTimeout(() => this.#expire(key, fresh), this.limits.ms),
    };
    this.#held.set(key, fresh);
    this.counters.held++;
    return 'hold';
  }

  /**
   * Not held any more from now on. `remember`: should it come again it passes; else that is a new question. False: it was not
   * held.
   */
  decide(key: string, sequence: number, remember = true): boolean {
    const held = this.#held.get(key);
    if (held?.sequence !== sequence) return false;
    this.clock.clearTimeout(held.timer);
    this.#held.delete(key);
    if (remember) this.#remember(key, sequence);
    return true;
  }

  /** Every SYN held expires now. */
  releaseAll(): void {
    for (const [key, held] of [...this.#held]) this.#expire(key, held);
  }

  #expire(key: string, held: Held): void {
    if (this.#held.get(key) !== held) return;
    this.clock.clearTimeout(held.timer);
    this.#held.delete(key);
    this.#remember(key, held.sequence);
    this.counters.expired++;
    held.onExpired();
  }

  #remember(key: string, sequence: number): void {
    this.#decided.delete(key);
    this.#decided.set(key, { sequence, until: this.clock.now() + this.limits.decidedMs });
    // Oldest first: those over their time are in front.
    for (const [old, { until }] of this.#decided) {
      if (until > this.clock.now() && this.#decided.size <= this.limits.decidedMax) break;
      this.#decided.delete(old);
    }
  }
}
