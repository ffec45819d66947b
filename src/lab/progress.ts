// SPDX-License-Identifier: BSD-2-Clause

/** What a person sees while a run goes on: steps, and a live line with each provider's rate. */
import type { Lab } from './lab.js';

const INTERVAL_MS = 500;
/** Without a terminal a line every so many samples, so that a log stays readable. */
const SPARSE = 4;
const BAR = 20;

export class Progress {
  private readonly terminal: boolean;
  private open = false;

  constructor(private readonly out: NodeJS.WritableStream | null) {
    this.terminal = (out as NodeJS.WriteStream | null)?.isTTY === true;
  }

  step(text: string): void {
    this.end();
    this.out?.write(`lab: ${text}\n`);
  }

  private line(text: string): void {
    if (this.terminal) {
      this.out?.write(`\r\x1b[K${text}`);
      this.open = true;
    } else this.out?.write(`${text}\n`);
  }

  end(): void {
    if (this.open) this.out?.write('\n');
    this.open = false;
  }

  /** Rates drawn by whoever has them. */
  rates(title: string, seconds: number, mbps: number[], fullMbps: number): void {
    const parts = mbps.map((rate, index) => {
      const filled = fullMbps > 0 ? Math.min(BAR, Math.round((rate / fullMbps) * BAR)) : 0;
      const bar = fullMbps > 0 ? ` ${'#'.repeat(filled)}${'.'.repeat(BAR - filled)}` : '';
      return `${index + 1}${bar} ${rate.toFixed(1).padStart(5)}`;
    });
    const sum = mbps.reduce((total, rate) => total + rate, 0);
    this.line(
      `lab: ${title} ${seconds.toFixed(1).padStart(4)} s | ${parts.join(' | ')} | ${sum.toFixed(1)} Mbit/s`,
    );
  }

  live(title: string, lab: Lab, direction: 'up' | 'down'): { stop: () => Promise<void> } {
    if (!this.out) return { stop: () => Promise.resolve() };
    let running = true;
    let wake: () => void = () => undefined;
    const loop = async (): Promise<void> => {
      const started = performance.now();
      let before = await lab.providerCounters();
      let at = performance.now();
      for (let sample = 0; running; sample++) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, INTERVAL_MS);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        if (!running) break;
        const now = performance.now();
        const counters = await lab.providerCounters();
        const mbps = counters.map(
          (counter, index) => ((counter[direction] - before[index]![direction]) * 8) / (now - at) / 1000,
        );
        if (this.terminal || sample % SPARSE === 0)
          this.rates(title, (now - started) / 1000, mbps, lab.rateMbps);
        before = counters;
        at = now;
      }
    };
    // A view that fails must not fail what it looks at.
    const done = loop().catch(() => undefined);
    return {
      stop: async () => {
        running = false;
        wake();
        await done;
        this.end();
      },
    };
  }
}
