// SPDX-License-Identifier: BSD-2-Clause

/** Time for simulations: virtual, moved on by whoever waits for something, or the real one. */
import type { Clock } from '../platform.js';

interface Timer {
  due: number;
  order: number;
  callback: () => void;
  cancelled: boolean;
}

/** A binary heap by time, then by the order in which the timers were set. */
export class VirtualClock implements Clock {
  private readonly heap: Timer[] = [];
  private time = 0;
  private count = 0;

  now(): number {
    return this.time;
  }

  setTimeout(callback: () => void, ms: number): Timer {
    const timer = { due: this.time + Math.max(0, ms), order: this.count++, callback, cancelled: false };
    this.push(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    if (timer !== undefined) (timer as Timer).cancelled = true;
  }

  /**
   * Lets things happen, one timer after the other, until `done()`.
   * @throws Error when `limitMs` of virtual time pass first, or when nothing is left that could happen.
   */
  async until(done: () => boolean, limitMs = 600_000, what = 'the condition'): Promise<void> {
    const limit = this.time + limitMs;
    for (;;) {
      await settle();
      if (done()) return;
      const next = this.pop();
      if (next === undefined) throw new Error(`nothing is left to happen, and ${what} is not met`);
      if (next.due > limit) {
        this.push(next);
        throw new Error(`${what} is not met within ${limitMs} ms`);
      }
      this.time = next.due;
      next.callback();
    }
  }

  /** Lets `ms` of virtual time pass. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      await settle();
      const next = this.pop();
      if (next === undefined || next.due > end) {
        if (next !== undefined) this.push(next);
        this.time = end;
        return;
      }
      this.time = next.due;
      next.callback();
    }
  }

  private before(a: Timer, b: Timer): boolean {
    return a.due < b.due || (a.due === b.due && a.order < b.order);
  }

  private push(timer: Timer): void {
    const { heap } = this;
    let index = heap.push(timer) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.before(timer, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = timer;
  }

  private pop(): Timer | undefined {
    const { heap } = this;
    for (;;) {
      const first = heap[0];
      const last = heap.pop();
      if (first === undefined || last === undefined) return undefined;
      if (heap.length > 0) {
        let index = 0;
        for (;;) {
          let child = 2 * index + 1;
          if (child >= heap.length) break;
          if (child + 1 < heap.length && this.before(heap[child + 1]!, heap[child]!)) child++;
          if (!this.before(heap[child]!, last)) break;
          heap[index] = heap[child]!;
          index = child;
        }
        heap[index] = last;
      }
      if (!first.cancelled) return first;
    }
  }
}

/** Promises that are due have run when this resolves. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
};
