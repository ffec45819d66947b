// SPDX-License-Identifier: BSD-2-Clause

/** What a daemon needs that runs within a scenario's own process. */
import type { Clock, ControlTransport } from '../../src/platform/platform.js';
import { systemClock } from '../../src/platform/system-clock.js';

/** Where mappings are static, or there are none: nobody is asked, and nobody asks. */
export const noControl: ControlTransport = {
  start: () => Promise.resolve(),
  update: () => Promise.resolve(),
  send: () => undefined,
  stop: () => Promise.resolve(),
};

/** Timers that end with the daemon they belong to, as they would with its process. */
export class MortalClock implements Clock {
  readonly #timers = new Set<unknown>();
  now = (): number => systemClock.now();
  setTimeout(callback: () => void, ms: number): unknown {
    const timer = systemClock.setTimeout(() => {
      this.#timers.delete(timer);
      callback();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }
  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer);
    systemClock.clearTimeout(timer);
  }
  die(): void {
    for (const timer of this.#timers) systemClock.clearTimeout(timer);
    this.#timers.clear();
  }
}
