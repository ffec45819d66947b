// SPDX-License-Identifier: BSD-2-Clause

/**
 * The pins of live flows, and of flows that ended a moment ago: the last FINs and their retransmissions leave after the
 * connection is forgotten and still have to travel on their own path. One wheel serves all of them.
 */
import type { Path } from '../lisp/mapping.js';
import type { Clock, Flow, LispDataPlane } from '../platform/platform.js';

interface Pin {
  flow: Flow;
  path: Path;
  iid: number;
}

export const flowKey = ({ local, remote }: Flow): string =>
  `${local.address} ${local.port} ${remote.address} ${remote.port}`;

export class Pins {
  private readonly pins = new Map<string, Pin>();
  private readonly ended: { pin: Pin; due: number }[] = [];
  private timer: unknown;

  constructor(
    private readonly plane: Pick<LispDataPlane, 'pin' | 'unpin'>,
    private readonly clock: Clock,
    private readonly lingerMs = 10_000,
  ) {}

  get size(): number {
    return this.pins.size;
  }

  set(flow: Flow, path: Path, iid: number): void {
    this.plane.pin(flow, path, iid);
    this.pins.set(flowKey(flow), { flow, path, iid });
  }

  pathOf(flow: Flow): Path | undefined {
    return this.pins.get(flowKey(flow))?.path;
  }

  /** The flow has ended; its pin goes after a while, unless the same addresses and ports are in use again by then. */
  release(flow: Flow): void {
    const pin = this.pins.get(flowKey(flow));
    if (pin === undefined) return;
    this.ended.push({ pin, due: this.clock.now() + this.lingerMs });
    this.timer ??= this.clock.setTimeout(() => this.sweep(), this.lingerMs);
  }

  /** The flow never sent anything: its pin goes at once. */
  drop(flow: Flow): void {
    this.remove(this.pins.get(flowKey(flow)));
  }

  clear(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    this.ended.length = 0;
    for (const pin of [...this.pins.values()]) this.remove(pin);
  }

  private sweep(): void {
    this.timer = undefined;
    const now = this.clock.now();
    let count = 0;
    while (count < this.ended.length && this.ended[count]!.due <= now) this.remove(this.ended[count++]!.pin);
    this.ended.splice(0, count);
    const next = this.ended[0];
    if (next !== undefined) {
      // Coarse on purpose: one timer a second at most, whatever the number of flows.
      this.timer = this.clock.setTimeout(() => this.sweep(), Math.max(1000, next.due - now));
    }
  }

  private remove(pin: Pin | undefined): void {
    if (pin === undefined || this.pins.get(flowKey(pin.flow)) !== pin) return;
    this.pins.delete(flowKey(pin.flow));
    this.plane.unpin(pin.flow, pin.iid);
  }
}
