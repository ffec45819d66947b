// SPDX-License-Identifier: BSD-2-Clause

/** Relay by native threads (native/common/relay.c). No payload passes here, only numbers and reasons. */
import { availableParallelism } from 'node:os';
import type { NativeRelay, NativeRelayReport, RelayMethod } from '../native/linux/sockets.types.js';
import {
  type CloseReason,
  PlatformError,
  type Relay,
  type RelayCounters,
  type RelayOptions,
  type RelayReport,
  type RelaySession,
  type SocketHandle,
} from './platform.js';

/** Milliseconds and seconds the native side holds in 32 bits; 0 is 'never' there. */
const limit = (value: number): number =>
  !Number.isFinite(value) || value <= 0 ? 0 : Math.min(Math.ceil(value), 0xffff_ffff);

class ThreadsRelaySession implements RelaySession {
  readonly closed: Promise<RelayReport>;
  #resolve!: (report: RelayReport) => void;
  #last: RelayCounters | undefined;

  constructor(
    private readonly number: number,
    private readonly native: NativeRelay,
    readonly starved: (() => void) | undefined,
  ) {
    this.closed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  counters(): RelayCounters {
    // Between its end and the report of it the session is nowhere: the report will have the last word.
    return this.#last ?? this.native.counters(this.number) ?? { up: 0, down: 0 };
  }

  abort(reason: CloseReason): void {
    if (this.#last === undefined) this.native.abort(this.number, reason);
  }

  finish(report: NativeRelayReport): void {
    this.#last = { up: report.up, down: report.down };
    this.#resolve({
      reason: report.reason as CloseReason,
      ...(report.code === undefined ? {} : { code: report.code }),
      up: report.up,
      down: report.down,
      durationMs: report.durationMs,
      ...(report.subflows === undefined
        ? {}
        : {
            subflows: report.subflows.map((subflow) => ({
              flow: {
                local: { address: subflow.localAddress, port: subflow.localPort },
                remote: { address: subflow.remoteAddress, port: subflow.remotePort },
              },
              bytesSent: subflow.bytesSent,
              bytesReceived: subflow.bytesReceived,
              retransmits: subflow.retransmits,
            })),
          }),
    });
  }
}

export class ThreadsRelay implements Relay {
  readonly #sessions = new Map<number, ThreadsRelaySession>();
  #started = false;

  constructor(
    private readonly native: NativeRelay,
    private readonly methods: { up: RelayMethod; down: RelayMethod },
    private readonly threads: number = Math.min(availableParallelism(), 8),
  ) {}

  async start(): Promise<void> {
    if (this.#started) return;
    if (!Number.isInteger(this.threads) || this.threads < 1 || this.threads > 64)
      throw new PlatformError(`relay threads must be 1 to 64, not ${this.threads}`, 'EINVAL');
    this.native.start(
      this.threads,
      this.methods.up,
      this.methods.down,
      (batch) => {
        for (const report of batch) {
          const session = this.#sessions.get(report.session);
          this.#sessions.delete(report.session);
          session?.finish(report);
        }
      },
      (sessions) => sessions.forEach((number) => this.#sessions.get(number)?.starved?.()),
    );
    this.#started = true;
  }

  run(client: SocketHandle, server: SocketHandle, options: RelayOptions): RelaySession {
    if (!this.#started) throw new PlatformError('the relay has not been started', 'EINVAL');
    const number = this.native.run(
      client,
      server,
      limit(options.idleTimeoutMs),
      limit(options.halfOpenTimeoutMs),
      limit(options.keepaliveSeconds),
      options.onStarved !== undefined,
    );
    const session = new ThreadsRelaySession(number, this.native, options.onStarved);
    this.#sessions.set(number, session);
    return session;
  }

  sessions(): number {
    return this.#sessions.size;
  }

  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    this.native.stop();
    // The last reports are queued before stop() returns and come with the next turns of the loop.
    await Promise.all([...this.#sessions.values()].map((session) => session.closed));
  }
}
