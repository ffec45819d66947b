// SPDX-License-Identifier: BSD-2-Clause

/**
 * Interceptor by pf and tproxy(4). The client's handshake waits until the server's is over.
 *
 *   IPv4 SYN -> pf, divert-to -> divert(4) -> held here ------.
 *   IPv6 SYN -> tproxy(4), which holds it -> event -----------+-> ClientFlow -> the gateway decides
 *
 *   bypass   the SYN goes on as it came, and the connection never comes here again
 *   accept   the flow is registered with tproxy(4), the SYN goes on, and the kernel completes the handshake as the
 *            destination; the accepted socket is found by its addresses. Where clients speak MPTCP (role data-centre), the
 *            listener is one of mptcp(4), and a SYN that joins a connection is let go on: the kernel knows whose it is
 *   refuse   the client gets RST or ICMP unreachable
 */
import type {
  CapturedSyn,
  DivertedSyn,
  NativeDivert,
  NativeInterception,
  NativeTproxy,
} from '../../native/freebsd/interception.types.js';
import type { AcceptedSocket, NativeDescriptors, NativeListener } from '../../native/linux/sockets.types.js';
import {
  type ClientFlow,
  type Clock,
  type Endpoint,
  type Interceptor,
  type InterceptRules,
  PlatformError,
  type SocketHandle,
} from '../platform.js';
import { HeldSyns, HOLD_LIMITS, type HoldLimits } from './held-syns.js';
import type { FreeBsdHost } from './host.js';
import { captureRules, type Interception } from './pf-rules.js';

/** Between the SYN's way back into the kernel and the client's ACK. */
const ACCEPT_MS = 10_000;
const BACKLOG = 4096;
const LISTEN_ADDRESS = { 4: '127.0.0.1', 6: '::1' } as const;

/** ICMP codes (RFC 792): what a router on the way would have said. */
const UNREACHABLE: Record<string, number> = {
  ENETUNREACH: 0,
  ENETDOWN: 0,
  EHOSTUNREACH: 1,
  EHOSTDOWN: 1,
  ETIMEDOUT: 1,
};

const interceptionOf = ({ protocol, ...rules }: InterceptRules): Interception => ({
  ...rules,
  divert: true,
  servers: protocol === 'mptcp',
});

const keyOf = (client: Endpoint, destination: Endpoint): string =>
  `${client.address} ${client.port} ${destination.address} ${destination.port}`;

/** A SYN that waits somewhere, and what can be done with it. */
interface HeldSyn {
  client: Endpoint;
  destination: Endpoint;
  /** False: it is not held any more, it went on. */
  settle(how: 'inject' | 'refuse' | { unreachable: number }): boolean;
}

type FlowState = 'held' | 'accepting' | 'accepted' | 'passed' | 'refused';

class HeldFlow implements ClientFlow {
  readonly held = true;
  state: FlowState = 'held';

  constructor(
    private readonly syn: HeldSyn,
    private readonly interceptor: FreeBsdInterceptor,
  ) {}

  get client(): Endpoint {
    return this.syn.client;
  }
  get destination(): Endpoint {
    return this.syn.destination;
  }

  async accept(): Promise<SocketHandle> {
    if (this.state !== 'held')
      throw new PlatformError(
        this.state === 'passed'
          ? 'the client was let through meanwhile'
          : `the flow has been ${this.state} already`,
        'ECONNABORTED',
      );
    this.state = 'accepting';
    try {
      const descriptor = await this.interceptor.accept(this.syn);
      this.state = 'accepted';
      return descriptor;
    } catch (error) {
      this.state = 'passed';
      throw error;
    }
  }

  bypass(): boolean {
    if (this.state === 'passed') return true;
    if (this.state !== 'held') return false;
    this.state = 'passed';
    this.syn.settle('inject');
    return true;
  }

  refuse(code: string): void {
    if (this.state !== 'held') return;
    this.state = 'refused';
    const unreachable = UNREACHABLE[code];
    this.syn.settle(unreachable === undefined ? 'refuse' : { unreachable });
  }

  /** Held for too long: it has gone on. */
  expire(): void {
    if (this.state === 'held') this.state = 'passed';
  }
}

export interface InterceptorOptions {
  host: FreeBsdHost;
  clock: Clock;
  native: NativeInterception;
  listener: NativeListener;
  descriptors: NativeDescriptors;
  limits?: HoldLimits;
  warn?(message: string): void;
}

interface Bypass {
  expires: number;
  timer: unknown;
}

export class FreeBsdInterceptor implements Interceptor {
  readonly #syns: HeldSyns;
  readonly #limits: HoldLimits;
  /** Flows of IPv6, by the kernel's number; the kernel lets them go by itself, and says nothing. */
  readonly #waiting = new Map<string, { accept(descriptor: number): void; fail(error: Error): void }>();
  readonly #bypass = new Map<string, Bypass>();
  #onFlow: (flow: ClientFlow) => void = () => undefined;
  #divert: NativeDivert | undefined;
  #tproxy: NativeTproxy | undefined;
  #listeners: { address: string; port: number; descriptor: number }[] = [];
  #rules: Interception | undefined;
  /** Of mptcp(4), where clients speak it: while it is open, the module stays. */
  #mptcp: number | undefined;
  #started = false;
  #stray = 0;

  constructor(private readonly options: InterceptorOptions) {
    this.#limits = options.limits ?? HOLD_LIMITS;
    this.#syns = new HeldSyns(options.clock, this.#limits);
  }

  async start(rules: InterceptRules, onFlow: (flow: ClientFlow) => void): Promise<void> {
    if (this.#started) throw new PlatformError('the interceptor has been started already', 'EALREADY');
    const { host, native, listener, descriptors } = this.options;
    const wanted = interceptionOf(rules);
    this.#onFlow = onFlow;
    this.#started = true;
    listener.start((batch) => batch.forEach((accepted) => this.#accepted(accepted)));
    try {
      const mptcp = rules.protocol === 'mptcp';
      if (mptcp)
        this.#mptcp = await host.open('mptcp').catch((error: unknown) => {
          throw new PlatformError(
            `the data-centre role needs mptcp(4): ${(error as Error).message}`,
            'EPROTONOSUPPORT',
          );
        });
      for (const family of [4, 6] as const) {
        const address = LISTEN_ADDRESS[family];
        const descriptor = descriptors.openListener(address, 0, mptcp, BACKLOG);
        const port = descriptors.localPort(descriptor);
        listener.add(descriptor);
        this.#listeners.push({ address, port, descriptor });
      }
      const divert = await host.open('divert');
      this.#divert = new native.Divert(divert, () => this.#onDiverted());
      const tproxy = await host.open('tproxy');
      this.#tproxy = new native.Tproxy(tproxy, () => this.#onCaptured());
      await this.#apply(wanted);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async update(rules: InterceptRules): Promise<void> {
    if (!this.#started) throw new PlatformError('the interceptor has not been started', 'EINVAL');
    const before = this.#rules;
    const wanted = interceptionOf(rules);
    if (before && wanted.servers !== before.servers)
      throw new PlatformError('what clients speak cannot change while they are listened to', 'EINVAL');
    try {
      await this.#apply(wanted);
    } catch (error) {
      if (before) this.#capture(before);
      throw error;
    }
  }

  async #apply(wanted: Interception): Promise<void> {
    this.#capture(wanted);
    await this.options.host.setInterception(wanted);
    this.#rules = wanted;
  }

  #capture(rules: Interception | undefined): void {
    this.#tproxy?.capture(captureRules(rules, [...this.#bypass.keys()]), Math.round(this.#limits.ms));
  }

  // ---------------------------------------------------------------- SYNs

  #onDiverted(): void {
    const divert = this.#divert;
    if (!divert) return;
    for (const syn of divert.receive()) this.#diverted(divert, syn);
  }

  #diverted(divert: NativeDivert, { packet, client, destination, sequence, joins }: DivertedSyn): void {
    const key = keyOf(client, destination);
    const send = (how: Parameters<HeldSyn['settle']>[0]): void => {
      try {
        if (how === 'inject') divert.inject(packet);
        else if (how === 'refuse') divert.refuse(packet);
        else divert.unreachable(packet, how.unreachable);
      } catch (error) {
        // Lost like any packet: the client repeats it.
        this.options.warn?.(`SYN of ${client.address}: ${(error as Error).message}`);
      }
    };
    if (joins && this.#rules?.servers) return send('inject');
    const held: HeldSyn = {
      client,
      destination,
      settle: (how) => {
        // What could not be reached a second ago may be reached when the client tries again.
        if (!this.#syns.decide(key, sequence, how === 'inject')) return false;
        send(how);
        return true;
      },
    };
    const flow = new HeldFlow(held, this);
    const verdict = this.#syns.offer(key, sequence, () => {
      flow.expire();
      send('inject');
    });
    if (verdict === 'pass') send('inject');
    else if (verdict === 'hold') this.#offer(flow);
  }

  #onCaptured(): void {
    const tproxy = this.#tproxy;
    if (!tproxy) return;
    for (const syn of tproxy.events()) this.#captured(tproxy, syn);
  }

  #captured(tproxy: NativeTproxy, { id, client, destination, joins }: CapturedSyn): void {
    const held: HeldSyn = {
      client,
      destination,
      settle: (how) => {
        try {
          return tproxy.release(id, typeof how === 'string' ? how : 'unreachable');
        } catch (error) {
          this.options.warn?.(`SYN of ${client.address}: ${(error as Error).message}`);
          return false;
        }
      },
    };
    // Of no connection the kernel knows, or it would not have come here.
    if (joins && this.#rules?.servers) held.settle('inject');
    else this.#offer(new HeldFlow(held, this));
  }

  #offer(flow: HeldFlow): void {
    if (this.#rules?.divert) this.#onFlow(flow);
    else flow.bypass();
  }

  // ---------------------------------------------------------------- accepting

  /** @internal */
  async accept(syn: HeldSyn): Promise<SocketHandle> {
    const { clock } = this.options;
    const { client, destination } = syn;
    const listener = this.#listeners.find(
      ({ address }) => address.includes(':') === destination.address.includes(':'),
    );
    const tproxy = this.#tproxy;
    if (!listener || !tproxy) throw new PlatformError('the interceptor does not run', 'ECONNABORTED');
    const key = keyOf(client, destination);
    tproxy.register(client, destination, { address: listener.address, port: listener.port });
    const forget = (): void => {
      try {
        tproxy.unregister(client, destination);
      } catch (error) {
        this.options.warn?.(`flow of ${client.address}: ${(error as Error).message}`);
      }
    };
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        this.#waiting.get(key)?.fail(new PlatformError('the client has gone', 'ECONNABORTED'));
      }, ACCEPT_MS);
      const done = (): void => {
        clock.clearTimeout(timer);
        this.#waiting.delete(key);
      };
      this.#waiting.get(key)?.fail(new PlatformError('the client began anew', 'ECONNABORTED'));
      this.#waiting.set(key, {
        accept: (descriptor) => {
          done();
          resolve(descriptor);
        },
        fail: (error) => {
          done();
          forget();
          reject(error);
        },
      });
      if (!syn.settle('inject'))
        this.#waiting
          .get(key)
          ?.fail(new PlatformError('the client was let through meanwhile', 'ECONNABORTED'));
    });
  }

  #accepted(accepted: AcceptedSocket): void {
    const client = { address: accepted.clientAddress, port: accepted.clientPort };
    const destination = { address: accepted.destinationAddress, port: accepted.destinationPort };
    const waiting = this.#waiting.get(keyOf(client, destination));
    if (waiting) return waiting.accept(accepted.descriptor);
    // Nobody's: connected to the listener itself, or after its time.
    this.#stray++;
    this.options.descriptors.reset(accepted.descriptor);
  }

  counters(): { held: number; repeated: number; overflowed: number; expired: number; stray: number } {
    return { ...this.#syns.counters, stray: this.#stray };
  }

  // ---------------------------------------------------------------- bypass

  async addBypass(prefix: string, ttlSeconds: number): Promise<void> {
    if (!this.#started) throw new PlatformError('the interceptor has not been started', 'EINVAL');
    const { clock, host } = this.options;
    const known = this.#bypass.get(prefix);
    if (known) clock.clearTimeout(known.timer);
    else await host.addBypass(prefix);
    const timer = clock.setTimeout(() => {
      this.removeBypass(prefix).catch((error: unknown) => this.options.warn?.((error as Error).message));
    }, ttlSeconds * 1000);
    this.#bypass.set(prefix, { expires: clock.now() + ttlSeconds * 1000, timer });
    this.#capture(this.#rules);
  }

  async removeBypass(prefix: string): Promise<void> {
    const known = this.#bypass.get(prefix);
    if (!known) return;
    this.options.clock.clearTimeout(known.timer);
    this.#bypass.delete(prefix);
    this.#capture(this.#rules);
    await this.options.host.removeBypass(prefix);
  }

  async listBypass(): Promise<{ prefix: string; expiresInSeconds: number }[]> {
    const now = this.options.clock.now();
    return [...this.#bypass].map(([prefix, { expires }]) => ({
      prefix,
      expiresInSeconds: Math.max(0, Math.ceil((expires - now) / 1000)),
    }));
  }

  // ---------------------------------------------------------------- the end

  async stopAccepting(): Promise<void> {
    if (!this.#rules?.divert) return;
    this.#rules = { ...this.#rules, divert: false };
    this.#capture(undefined);
    await this.options.host.setInterception(this.#rules);
    // What came before the rules went passes.
    this.#onDiverted();
    this.#syns.releaseAll();
  }

  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    const { clock, host, listener } = this.options;
    this.#rules = undefined;
    try {
      await host.setInterception(undefined);
    } finally {
      this.#onDiverted();
      this.#syns.releaseAll();
      for (const { fail } of [...this.#waiting.values()])
        fail(new PlatformError('the interceptor stops', 'ECONNABORTED'));
      for (const { timer } of this.#bypass.values()) clock.clearTimeout(timer);
      this.#bypass.clear();
      this.#divert?.close();
      this.#tproxy?.close();
      this.#divert = this.#tproxy = undefined;
      for (const { descriptor } of this.#listeners) listener.remove(descriptor);
      this.#listeners = [];
      listener.stop();
      if (this.#mptcp !== undefined) this.options.descriptors.close(this.#mptcp);
      this.#mptcp = undefined;
    }
  }
}
