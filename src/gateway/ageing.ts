// SPDX-License-Identifier: BSD-2-Clause

/** When connections are old enough for something: those of a line all wait equally long, and share one timer. */
import type { Clock } from '../platform/platform.js';
import type { Connection } from './connection.js';

const GRAIN_MS = 5;

export class Ageing {
  /** The one that waits longest is the first. */
  private line: { connection: Connection; due: number }[] = [];
  private timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly ripe: (connection: Connection) => void,
  ) {}

  add(connection: Connection, ms: number): void {
    this.line.push({ connection, due: this.clock.now() + ms });
    this.timer ??= this.clock.setTimeout(() => this.look(), ms);
  }

  private look(): void {
    this.timer = undefined;
    const now = this.clock.now();
    let count = 0;
    while (count < this.line.length && this.line[count]!.due <= now) count++;
    const ripe = this.line.slice(0, count);
    this.line = this.line.slice(count);
    // Coarse on purpose: at most one timer in GRAIN_MS, however many there are.
    if (this.line.length > 0)
      this.timer = this.clock.setTimeout(() => this.look(), Math.max(GRAIN_MS, this.line[0]!.due - now));
    for (const { connection } of ripe) this.ripe(connection);
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    this.line = [];
  }
}
