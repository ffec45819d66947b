// SPDX-License-Identifier: BSD-2-Clause

/**
 * Whether this host's RLOCs are there: the address is on an interface that is up and has a carrier. What a provider loses
 * further away is for probes to find; this is known at once, and the others can be told (the R bit, RFC 9301 section 5.4).
 */
import type { Clock } from '../platform/platform.js';

/** A look costs one system call. */
const INTERVAL_MS = 500;

export class RlocWatcher {
  private readonly down = new Set<string>();
  private timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly liveAddresses: () => string[],
    private rlocs: readonly string[],
    private readonly onChange: (address: string, up: boolean) => void,
    private readonly onError: (error: unknown) => void,
  ) {}

  start(): void {
    this.look();
    this.timer = this.clock.setTimeout(() => this.start(), INTERVAL_MS);
  }

  /** RLOCs that are no more are forgotten; a new one is taken to be up until looked at. */
  update(rlocs: readonly string[]): void {
    this.rlocs = rlocs;
    for (const address of this.down) if (!rlocs.includes(address)) this.down.delete(address);
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
  }

  private look(): void {
    try {
      const live = new Set(this.liveAddresses());
      for (const address of this.rlocs) {
        const up = live.has(address);
        if (up !== this.down.has(address)) continue;
        if (up) this.down.delete(address);
        else this.down.add(address);
        this.onChange(address, up);
      }
    } catch (error) {
      this.onError(error);
    }
  }
}
