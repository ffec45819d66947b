// SPDX-License-Identifier: BSD-2-Clause

/**
 * Connections that wait for a Map-Reply. Each waits equally long, so that their deadlines are in order and one timer serves
 * all of them.
 */
import type { Resolution } from '../lisp/mapping-system.js';
import type { Clock } from '../platform/platform.js';

interface Waiting {
  due: number;
  settled: boolean;
  settle(outcome: Resolution): void;
}

export class Holds {
  private readonly queue: Waiting[] = [];
  private timer: unknown;
  private waiting = 0;

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.waiting;
  }

  /** The resolution, or 'unreachable' once `holdMs` are over. Never rejects. */
  wait(resolution: Promise<Resolution>, holdMs: number): Promise<Resolution> {
    return new Promise((resolve) => {
      const entry: Waiting = {
        due: this.clock.now() + holdMs,
        settled: false,
        settle: (outcome) => {
          if (entry.settled) return;
          entry.settled = true;
          this.waiting--;
          resolve(outcome);
        },
      };
      this.waiting++;
      this.queue.push(entry);
      this.timer ??= this.clock.setTimeout(() => this.sweep(), holdMs);
      resolution.then(
        (outcome) => entry.settle(outcome),
        (error: unknown) => entry.settle(unanswered(String(error))),
      );
    });
  }

  /** Lets everything go on as if nobody had answered: the daemon stops. */
  releaseAll(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    for (const entry of this.queue.splice(0)) entry.settle(unanswered('the daemon stops'));
  }

  private sweep(): void {
    this.timer = undefined;
    const now = this.clock.now();
    let count = 0;
    while (count < this.queue.length && (this.queue[count]!.settled || this.queue[count]!.due <= now)) {
      this.queue[count++]!.settle(unanswered('held too long'));
    }
    this.queue.splice(0, count);
    const next = this.queue[0];
    if (next !== undefined)
      this.timer = this.clock.setTimeout(() => this.sweep(), Math.max(1, next.due - now));
  }
}

const unanswered = (reason: string): Resolution => ({ status: 'unreachable', reason, retryAfterMs: 0 });
