// SPDX-License-Identifier: BSD-2-Clause

/** Two simulated sockets, bytes moved between them. */
import type {
  Clock,
  CloseReason,
  Relay,
  RelayOptions,
  RelayReport,
  RelaySession,
  SocketHandle,
} from '../platform.js';
import type { Descriptors, Stream } from './stream.js';

export class MemoryRelay implements Relay {
  private readonly running = new Set<MemorySession>();

  constructor(
    private readonly descriptors: Descriptors,
    private readonly clock: Clock,
  ) {}

  start(): Promise<void> {
    return Promise.resolve();
  }
  run(client: SocketHandle, server: SocketHandle, options: RelayOptions): RelaySession {
    const session = new MemorySession(
      this.descriptors.get(client),
      this.descriptors.get(server),
      options,
      this.clock,
    );
    this.running.add(session);
    void session.closed.then(() => {
      this.running.delete(session);
      this.descriptors.close(client);
      this.descriptors.close(server);
    });
    return session;
  }
  sessions(): number {
    return this.running.size;
  }
  stop(): Promise<void> {
    for (const session of this.running) session.abort('drain');
    return Promise.resolve();
  }
}

class MemorySession implements RelaySession {
  readonly closed: Promise<RelayReport>;
  private finish!: (report: RelayReport) => void;
  private over = false;
  private readonly moved = { up: 0, down: 0 };
  private readonly ended = { up: false, down: false };
  private readonly startedAt: number;
  private lastMoved: number;
  private timer: unknown;

  constructor(
    private readonly client: Stream,
    private readonly server: Stream,
    private readonly options: RelayOptions,
    private readonly clock: Clock,
  ) {
    this.startedAt = this.lastMoved = clock.now();
    this.closed = new Promise((resolve) => (this.finish = resolve));
    this.join(client, server, 'up', 'client-reset');
    this.join(server, client, 'down', 'server-reset');
    client.resume();
    server.resume();
    this.watch();
  }

  counters(): { up: number; down: number } {
    return { ...this.moved };
  }

  abort(reason: CloseReason): void {
    if (this.over) return;
    this.client.reset();
    this.server.reset();
    this.end(reason);
  }

  private join(from: Stream, to: Stream, direction: 'up' | 'down', onReset: CloseReason): void {
    from.events = {
      data: (chunk) => {
        if (this.over) return;
        this.moved[direction] += chunk.length;
        this.lastMoved = this.clock.now();
        if (!to.write(chunk)) from.pause();
      },
      end: () => {
        this.ended[direction] = true;
        this.lastMoved = this.clock.now();
        to.end();
        if (this.ended.up && this.ended.down) this.end('finished');
        else this.watch();
      },
      close: (code) => {
        if (this.over || code === undefined) return;
        to.reset(code);
        this.end(onReset, code);
      },
      drain: () => to.resume(),
    };
  }

  /** One timer for whichever time-out is next. */
  private watch(): void {
    this.clock.clearTimeout(this.timer);
    if (this.over) return;
    const half = this.ended.up || this.ended.down;
    const limit = half ? this.options.halfOpenTimeoutMs : this.options.idleTimeoutMs;
    const left = this.lastMoved + limit - this.clock.now();
    if (left <= 0) return this.abort(half ? 'half-open-timeout' : 'idle-timeout');
    this.timer = this.clock.setTimeout(() => this.watch(), left);
  }

  private end(reason: CloseReason, code?: string): void {
    if (this.over) return;
    this.over = true;
    this.clock.clearTimeout(this.timer);
    this.finish({
      reason,
      ...(code !== undefined && { code }),
      ...this.moved,
      durationMs: this.clock.now() - this.startedAt,
    });
  }
}
