// SPDX-License-Identifier: BSD-2-Clause

/** The simulated network without LISP: hosts that reach each other by ordinary routes. */
import { prefixContains } from '../../lisp/prefix.js';
import { PlatformError, type Clock } from '../platform.js';
import type { Output } from './host.js';
import { decodeSegment } from './segment.js';

export class NativeNetwork {
  private readonly hosts: { prefix: string; input: (packet: Uint8Array, reply: Output) => void }[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly delayMs = 5,
  ) {}

  attach(prefix: string, input: (packet: Uint8Array, reply: Output) => void): () => void {
    const entry = { prefix, input };
    this.hosts.push(entry);
    return () => {
      const index = this.hosts.indexOf(entry);
      if (index >= 0) this.hosts.splice(index, 1);
    };
  }

  /** @throws PlatformError ENETUNREACH */
  readonly output: Output = (packet) => {
    const destination = decodeSegment(packet)?.flow.remote.address;
    const host = this.hosts.find(
      ({ prefix }) => destination !== undefined && prefixContains(prefix, destination),
    );
    if (host === undefined) throw new PlatformError(`no route to ${destination ?? 'nowhere'}`, 'ENETUNREACH');
    this.clock.setTimeout(() => host.input(packet, this.answer), this.delayMs);
  };

  /** An answer that finds no way back is lost. */
  private readonly answer: Output = (packet) => {
    try {
      this.output(packet);
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
    }
  };
}
