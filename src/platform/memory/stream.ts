// SPDX-License-Identifier: BSD-2-Clause

/** A simulated socket: octets both ways, half-close, reset, back-pressure. */
import type { SocketHandle } from '../platform.js';

export interface StreamEvents {
  data?(chunk: Uint8Array): void;
  /** The peer has closed its direction. */
  end?(): void;
  /** There is room again after write() returned false. */
  drain?(): void;
  /** Reset by the peer, or both directions are closed. Last event. */
  close?(code?: string): void;
}

export interface Stream {
  events: StreamEvents;
  /** false: full, wait for 'drain'. The chunk is taken all the same. */
  write(chunk: Uint8Array): boolean;
  /** Closes this direction. */
  end(): void;
  /** Resets both. */
  reset(code?: string): void;
  pause(): void;
  resume(): void;
}

const HIGH_WATER = 512 * 1024;

/** Two streams, each the other's peer, on one host: a client next to its gateway. */
export function streamPair(): [Stream, Stream] {
  const a = new LocalStream();
  const b = new LocalStream();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class LocalStream implements Stream {
  events: StreamEvents = {};
  peer!: LocalStream;
  private readonly incoming: Uint8Array[] = [];
  private waiting = 0;
  private paused = false;
  private scheduled = false;
  private full = false;
  private ended = false;
  private endSeen = false;
  private closed = false;

  write(chunk: Uint8Array): boolean {
    if (this.closed || this.ended) return true;
    const { peer } = this;
    peer.incoming.push(chunk);
    peer.waiting += chunk.length;
    peer.schedule();
    this.full = peer.waiting >= HIGH_WATER;
    return !this.full;
  }
  end(): void {
    if (this.ended || this.closed) return;
    this.ended = true;
    this.peer.schedule();
  }
  reset(code?: string): void {
    if (this.closed) return;
    this.closed = true;
    const { peer } = this;
    queueMicrotask(() => {
      if (peer.closed) return;
      peer.closed = true;
      peer.events.close?.(code ?? 'ECONNRESET');
    });
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.deliver();
    });
  }

  private deliver(): void {
    while (!this.paused && !this.closed) {
      const chunk = this.incoming.shift();
      if (chunk === undefined) break;
      this.waiting -= chunk.length;
      this.events.data?.(chunk);
    }
    if (this.peer.full && this.waiting < HIGH_WATER / 2) {
      this.peer.full = false;
      this.peer.events.drain?.();
    }
    if (this.incoming.length > 0 || !this.peer.ended || this.closed) return;
    if (!this.endSeen) {
      this.endSeen = true;
      this.events.end?.();
    }
    if (this.ended && this.peer.endSeen) {
      this.closed = true;
      this.peer.closed = true;
      this.events.close?.();
      this.peer.events.close?.();
    }
  }
}

/** Simulated descriptors. */
export class Descriptors {
  private readonly streams = new Map<number, Stream>();
  private next = 3;

  open(stream: Stream): SocketHandle {
    this.streams.set(this.next, stream);
    return this.next++;
  }
  get(handle: SocketHandle): Stream {
    const stream = this.streams.get(handle);
    if (stream === undefined) throw new Error(`descriptor ${handle} is not open`);
    return stream;
  }
  close(handle: SocketHandle): void {
    this.streams.delete(handle);
  }
  get size(): number {
    return this.streams.size;
  }
}
