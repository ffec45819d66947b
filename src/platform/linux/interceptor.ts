// SPDX-License-Identifier: BSD-2-Clause

/**
 * Interceptor by nftables TPROXY.
 *
 *   client SYN -> prerouting (host-network.ts) -> tproxy to our listener, marked
 *              -> rule: mark -> local delivery -> kernel completes the handshake as the destination
 *              -> accepted in a native thread -> ClientFlow
 *
 * What the client side speaks decides the listeners. TCP: one a family, any port. MPTCP: one for each original port,
 * because the kernel refuses an MP_JOIN that arrives at a listener on another port than the connection's.
 */
import { nativePart } from '../../native/index.js';
import type { AcceptedSocket, NativeDescriptors, NativeListener } from '../../native/linux/sockets.types.js';
import {
  type ClientFlow,
  type Endpoint,
  type Interceptor,
  type InterceptRules,
  PlatformError,
  type SocketHandle,
} from '../platform.js';
import { eachPort, type HostNetwork, type InterceptionRequest, LISTEN_ADDRESS } from './host-network.js';

/** Ports listened on one by one, for clients that speak MPTCP. */
export const MAX_ORIGINAL_PORTS = 1024;

interface Listeners {
  protocol: 'tcp' | 'mptcp';
  /** By family and port. */
  open: Map<string, number>;
  ports: { v4: number; v6: number };
}

class AcceptedFlow implements ClientFlow {
  readonly held = false;
  #state: 'open' | 'taken' | 'refused' = 'open';

  constructor(
    readonly client: Endpoint,
    readonly destination: Endpoint,
    private readonly descriptor: number,
    private readonly descriptors: NativeDescriptors,
  ) {}

  async accept(): Promise<SocketHandle> {
    if (this.#state !== 'open') throw new PlatformError(`the flow has been ${this.#state} already`, 'EINVAL');
    this.#state = 'taken';
    return this.descriptor;
  }

  /** The handshake is done. */
  bypass(): boolean {
    return false;
  }

  refuse(_code: string): void {
    if (this.#state !== 'open') return;
    this.#state = 'refused';
    this.descriptors.reset(this.descriptor);
  }
}

export class LinuxInterceptor implements Interceptor {
  #listeners: Listeners | undefined;
  #onFlow: (flow: ClientFlow) => void = () => undefined;
  #started = false;
  #accepting = false;
  /** Connections to a listener that nobody redirected. */
  #stray = 0;

  constructor(
    private readonly host: HostNetwork,
    private readonly native: NativeListener = nativePart('listener'),
    private readonly descriptors: NativeDescriptors = nativePart('descriptors'),
  ) {}

  async start(rules: InterceptRules, onFlow: (flow: ClientFlow) => void): Promise<void> {
    if (this.#started) throw new PlatformError('the interceptor has been started already', 'EALREADY');
    this.#onFlow = onFlow;
    this.native.start((batch) => batch.forEach((accepted) => this.#accepted(accepted)));
    this.#started = true;
    try {
      await this.#apply(rules);
      this.#accepting = true;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async update(rules: InterceptRules): Promise<void> {
    if (!this.#accepting) throw new PlatformError('the interceptor is not accepting', 'EINVAL');
    await this.#apply(rules);
  }

  /** Listeners first, then rules, then the listeners no rule leads to any more: no moment without either. */
  async #apply(rules: InterceptRules): Promise<void> {
    const before = this.#listeners;
    const fresh = await this.#listen(rules, before);
    const request: InterceptionRequest = {
      interfaces: rules.interfaces,
      ports: rules.ports,
      include: rules.include,
      exclude: rules.exclude,
      listeners: rules.protocol === 'mptcp' ? 'original' : fresh.ports,
    };
    try {
      await this.host.setInterception(request);
    } catch (error) {
      this.#drop(fresh, before);
      throw error;
    }
    this.#listeners = fresh;
    if (before) this.#drop(before, fresh);
  }

  async #listen(rules: InterceptRules, before: Listeners | undefined): Promise<Listeners> {
    const reusable = before?.protocol === rules.protocol ? before : undefined;
    const ports = rules.protocol === 'mptcp' ? eachPort(rules.ports) : [0];
    if (ports.length > MAX_ORIGINAL_PORTS)
      throw new PlatformError(
        `the data-centre role listens on each port: ${ports.length} are too many, at most ${MAX_ORIGINAL_PORTS}`,
        'EINVAL',
      );
    const fresh: Listeners = { protocol: rules.protocol, open: new Map(), ports: { v4: 0, v6: 0 } };
    if (reusable) fresh.ports = { ...reusable.ports };
    try {
      for (const family of [4, 6] as const)
        for (const port of ports) {
          const key = `${family}:${port}`;
          const kept = reusable?.open.get(key);
          if (kept !== undefined) {
            fresh.open.set(key, kept);
            continue;
          }
          let descriptor: number;
          try {
            descriptor = await this.host.listen({ family, port, protocol: rules.protocol });
          } catch (error) {
            // A host without IPv6 has nothing to intercept there.
            if (family === 6 && ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes((error as PlatformError).code))
              continue;
            throw error;
          }
          this.native.add(descriptor);
          fresh.open.set(key, descriptor);
          if (port === 0) fresh.ports[family === 4 ? 'v4' : 'v6'] = this.descriptors.localPort(descriptor);
        }
    } catch (error) {
      this.#drop(fresh, reusable);
      throw error;
    }
    // A rule for a family without listener falls through; any port will do.
    if (fresh.ports.v6 === 0) fresh.ports.v6 = fresh.ports.v4;
    return fresh;
  }

  /** Closes listeners of `from` that `kept` does not share. */
  #drop(from: Listeners, kept: Listeners | undefined): void {
    const keep = new Set(kept?.open.values());
    for (const descriptor of from.open.values()) if (!keep.has(descriptor)) this.native.remove(descriptor);
  }

  #accepted(accepted: AcceptedSocket): void {
    const destination = { address: accepted.destinationAddress, port: accepted.destinationPort };
    if (
      !this.#started ||
      destination.address === LISTEN_ADDRESS[4] ||
      destination.address === LISTEN_ADDRESS[6]
    ) {
      this.#stray++;
      this.descriptors.reset(accepted.descriptor);
      return;
    }
    const client = { address: accepted.clientAddress, port: accepted.clientPort };
    this.#onFlow(new AcceptedFlow(client, destination, accepted.descriptor, this.descriptors));
  }

  /** Accepted, times accepting had to rest for want of descriptors or memory, lost before accept. */
  counters(): { accepted: number; paused: number; failed: number; stray: number } {
    return { ...this.native.counters(), stray: this.#stray };
  }

  #needTable(): void {
    if (!this.#started) throw new PlatformError('the interceptor has not been started', 'EINVAL');
  }

  async addBypass(prefix: string, ttlSeconds: number): Promise<void> {
    this.#needTable();
    await this.host.addBypass(prefix, ttlSeconds);
  }

  async removeBypass(prefix: string): Promise<void> {
    this.#needTable();
    await this.host.removeBypass(prefix);
  }

  async listBypass(): Promise<{ prefix: string; expiresInSeconds: number }[]> {
    return this.#accepting ? this.host.listBypass() : [];
  }

  async stopAccepting(): Promise<void> {
    if (!this.#accepting) return;
    this.#accepting = false;
    await this.host.setInterception(undefined);
    // Those whose handshake is complete are taken; the rules lead nobody here any more.
    if (this.#listeners) this.#drop(this.#listeners, undefined);
    this.#listeners = undefined;
  }

  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#accepting = false;
    this.#started = false;
    try {
      await this.host.setInterception('none');
    } finally {
      if (this.#listeners) this.#drop(this.#listeners, undefined);
      this.#listeners = undefined;
      this.native.stop();
    }
  }
}
