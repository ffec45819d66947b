// SPDX-License-Identifier: BSD-2-Clause

/** When connections are old enough for something: those of a line all wait equally long, and share one timer. */
import type { Clock } from '../platform/platform.js';
import type { Connection } from './connection.js';

const GRAIN_MS = 5;

export class Ageing {
  /** When each is due; the one that waits longest is the first. */
  private readonly line = new Map<Connection, number>();
  private timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly ripe: (connection: Connection) => void,
  ) {}

  add(connection: Connection, ms: number): void {
    this.line.delete(connection);
    this.line.set(connection, this.clock.now() + ms);
    this.timer ??= this.clock.setTimeout(() => this.look(), ms);
  }

  private look(): void {
    this.timer = undefined;
    const now = this.clock.now();
    const ripe: Connection[] = [];
    for (const [connection, due] of this.line) {
      if (due > now) {
        // Coarse on purpose: at most one timer in GRAIN_MS, however many there are.
        this.timer = this.clock.setTimeout(() => this.look(), Math.max(GRAIN_MS, due - now));
        break;
      }
      ripe.push(connection);
    }
    for (const connection of ripe) this.line.delete(connection);
    for (const connection of ripe) this.ripe(connection);
  }

  forget(connection: Connection): void {
    if (this.line.delete(connection) && this.line.size === 0) this.stop();
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    this.line.clear();
  }
}
