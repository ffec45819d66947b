// SPDX-License-Identifier: BSD-2-Clause

/**
 * intercept.source = "client": the server sees the client's own address, which is not this host's.
 *
 *   socket with IP_BINDANY, made by who has the privilege -> bound to the client's address -> SYN by lisp0
 *   the server's answer, to the client's address -> lisp0 -> tproxy(4): registered -> our socket, not the client
 *
 * tproxy(4) delivers the packets of a registered flow locally. To it the server is the client of the flow and the client's
 * address its destination. It forgets the flow when the connection is gone, and all of them when the process is.
 */
import type { NativeInterception, NativeTproxy } from '../../native/freebsd/interception.types.js';
import { type Endpoint, type Flow, PlatformError } from '../platform.js';
import type { FreeBsdHost } from './host.js';

/** Sockets asked for at a time: the guard is a process away. */
const BATCH = 16;
/** What the flows of a connection in a client's name need. */
export interface FlowRegistry {
  register(flow: Flow): void;
  forget(flow: Flow): void;
}

/** Named as listener of flows that have a socket of their own: nobody listens there, and what is late gets RST. */
const NOBODY: Record<4 | 6, Endpoint> = {
  4: { address: '127.0.0.1', port: 1 },
  6: { address: '::1', port: 1 },
};

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

export interface ClientSourceOptions {
  host: FreeBsdHost;
  native: NativeInterception;
  close(descriptor: number): void;
  warn?(message: string): void;
}

interface Pool {
  descriptors: number[];
  asking?: Promise<void>;
}

export class ClientSource implements FlowRegistry {
  readonly #pools = new Map<string, Pool>();
  #tproxy: NativeTproxy | undefined;
  #opening: Promise<void> | undefined;
  #closed = false;

  constructor(private readonly options: ClientSourceOptions) {}

  /** A socket that can be bound to any address; the caller's from then on. */
  async socket(address: string, mptcp: boolean): Promise<number> {
    await this.#open();
    const family = familyOf(address);
    const key = `${family} ${mptcp}`;
    let pool = this.#pools.get(key);
    if (!pool) this.#pools.set(key, (pool = { descriptors: [] }));
    for (;;) {
      const descriptor = pool.descriptors.pop();
      if (descriptor !== undefined) return descriptor;
      // Those who come meanwhile share the answer; one of them may find that the others took it all.
      pool.asking ??= this.#fill(pool, family, mptcp).finally(() => delete pool.asking);
      await pool.asking;
    }
  }

  async #fill(pool: Pool, family: 4 | 6, mptcp: boolean): Promise<void> {
    const descriptors = await this.options.host.openTransparent(family, BATCH, mptcp);
    if (this.#closed) {
      descriptors.forEach((descriptor) => this.options.close(descriptor));
      throw new PlatformError('the connector has been stopped', 'ECANCELED');
    }
    if (descriptors.length === 0) throw new PlatformError('no socket was handed over', 'EPROTO');
    pool.descriptors.push(...descriptors);
  }

  #open(): Promise<void> {
    if (this.#closed) throw new PlatformError('the connector has been stopped', 'ECANCELED');
    this.#opening ??= (async () => {
      const descriptor = await this.options.host.open('tproxy');
      this.#tproxy = new this.options.native.Tproxy(descriptor, () => undefined);
    })().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  /** From now on what the server sends comes to the socket with this flow. Before its SYN leaves. */
  register({ local, remote }: Flow): void {
    if (!this.#tproxy) throw new PlatformError('the connector has been stopped', 'ECANCELED');
    this.#tproxy.register(remote, local, NOBODY[familyOf(local.address)]);
  }

  /** There will be no connection. */
  forget({ local, remote }: Flow): void {
    try {
      this.#tproxy?.unregister(remote, local);
    } catch (error) {
      this.options.warn?.(`flow of ${local.address}: ${(error as Error).message}`);
    }
  }

  close(): void {
    this.#closed = true;
    for (const { descriptors } of this.#pools.values())
      for (const descriptor of descriptors.splice(0)) this.options.close(descriptor);
    this.#tproxy?.close();
    this.#tproxy = undefined;
  }
}
