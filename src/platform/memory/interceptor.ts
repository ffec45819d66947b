// SPDX-License-Identifier: BSD-2-Clause

/**
 * Clients by script: each connects, and its connection is handed to the gateway unless the rules or the bypass set say
 * otherwise.
 */
import { prefixContains } from '../../lisp/prefix.js';
import {
  PlatformError,
  type ClientFlow,
  type Clock,
  type Endpoint,
  type Interceptor,
  type InterceptRules,
} from '../platform.js';
import { streamPair, type Descriptors, type Stream } from './stream.js';

export interface ScriptedConnection {
  readonly client: Endpoint;
  readonly destination: Endpoint;
  /** The client's end. Resolves when its handshake is complete, rejects with the code it sees. */
  readonly connected: Promise<Stream>;
  /** What became of it. */
  outcome: 'pending' | 'proxied' | 'bypassed' | 'refused' | 'gone';
  code?: string;
  /** The client gives up before it was answered. */
  giveUp(): void;
}

export class MemoryInterceptor implements Interceptor {
  private rules: InterceptRules | undefined;
  private accepting = false;
  private onFlow: (flow: ClientFlow) => void = () => undefined;
  private readonly bypassed = new Map<string, number>();
  private nextPort = 40_000;

  constructor(
    private readonly descriptors: Descriptors,
    private readonly clock: Clock,
    /** true: as on FreeBSD, the SYN is held; false: as on Linux, accepted already. */
    private readonly holdsSyn = false,
  ) {}

  start(rules: InterceptRules, onFlow: (flow: ClientFlow) => void): Promise<void> {
    this.rules = rules;
    this.onFlow = onFlow;
    this.accepting = true;
    return Promise.resolve();
  }
  update(rules: InterceptRules): Promise<void> {
    this.rules = rules;
    return Promise.resolve();
  }
  addBypass(prefix: string, ttlSeconds: number): Promise<void> {
    this.bypassed.set(prefix, this.clock.now() + ttlSeconds * 1000);
    return Promise.resolve();
  }
  removeBypass(prefix: string): Promise<void> {
    this.bypassed.delete(prefix);
    return Promise.resolve();
  }
  listBypass(): Promise<{ prefix: string; expiresInSeconds: number }[]> {
    const now = this.clock.now();
    return Promise.resolve(
      [...this.bypassed]
        .filter(([, expires]) => expires > now)
        .map(([prefix, expires]) => ({ prefix, expiresInSeconds: (expires - now) / 1000 })),
    );
  }
  stopAccepting(): Promise<void> {
    this.accepting = false;
    return Promise.resolve();
  }
  stop(): Promise<void> {
    this.accepting = false;
    this.rules = undefined;
    this.bypassed.clear();
    return Promise.resolve();
  }

  /** A client of the script opens a connection. */
  connect(
    destination: Endpoint,
    client: Endpoint = { address: '10.10.0.2', port: this.nextPort++ },
  ): ScriptedConnection {
    let settle!: { resolve(stream: Stream): void; reject(error: Error): void };
    const connected = new Promise<Stream>((resolve, reject) => (settle = { resolve, reject }));
    connected.catch(() => undefined);
    const [outer, inner] = streamPair();
    // Until the relay reads, what the client sends stays in its socket.
    inner.pause();
    const script: ScriptedConnection = {
      client,
      destination,
      connected,
      outcome: 'pending',
      giveUp: () => {
        if (script.outcome !== 'pending') return;
        script.outcome = 'gone';
        settle.reject(new PlatformError('the client gave up', 'ECONNABORTED'));
      },
    };
    if (!this.takes(destination)) {
      script.outcome = 'bypassed';
      settle.reject(new PlatformError('not intercepted', 'EBYPASSED'));
      return script;
    }
    if (!this.holdsSyn) settle.resolve(outer);
    this.onFlow({
      client,
      destination,
      held: this.holdsSyn,
      accept: () => {
        if (script.outcome === 'gone')
          return Promise.reject(new PlatformError('the client has gone', 'ECONNABORTED'));
        script.outcome = 'proxied';
        settle.resolve(outer);
        return Promise.resolve(this.descriptors.open(inner));
      },
      bypass: () => {
        if (!this.holdsSyn) return false;
        script.outcome = 'bypassed';
        settle.reject(new PlatformError('not intercepted', 'EBYPASSED'));
        return true;
      },
      refuse: (code) => {
        if (script.outcome !== 'pending') return;
        script.outcome = 'refused';
        script.code = code;
        if (this.holdsSyn) settle.reject(new PlatformError('refused', code));
        else inner.reset('ECONNRESET');
      },
    });
    return script;
  }

  private takes({ address, port }: Endpoint): boolean {
    const { rules } = this;
    if (!this.accepting || rules === undefined) return false;
    const now = this.clock.now();
    for (const [prefix, expires] of this.bypassed)
      if (expires > now && prefixContains(prefix, address)) return false;
    return (
      rules.ports.some(({ from, to }) => port >= from && port <= to) &&
      !rules.exclude.some((prefix) => prefixContains(prefix, address)) &&
      (rules.include.length === 0 || rules.include.some((prefix) => prefixContains(prefix, address)))
    );
  }
}
