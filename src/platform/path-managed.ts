// SPDX-License-Identifier: BSD-2-Clause

/**
 * MPTCP connections of a kernel whose path manager this process is: what is the same whatever the kernel.
 *
 *   kernel's events -> PathManagedConnections, by token -> PathManagedConnection -> SubflowTable, listener
 *
 * The kernel tells of every MPTCP connection of the host. One of ours is known by its token, from its connect on; what is told
 * of it before is kept as long as any connect is under way.
 */
import { writeSync } from 'node:fs';
import { type SubflowRecord, type SubflowState, SubflowTable } from '../mptcp/subflows.js';
import {
  type Clock,
  type Endpoint,
  type Flow,
  type MptcpConnection,
  type MptcpEvent,
  PlatformError,
  type SocketHandle,
  type Subflow,
  type SubflowInfo,
  type SubflowRequest,
} from './platform.js';

/** Tokens whose events are kept until their connect is known to have succeeded. */
const MAX_EARLY = 1024;
/** Closed subflows whose counters are remembered. */
const KEEP_CLOSED = 16;

export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'EIO';

export class PathManagedConnections<E extends { token: number }, C extends PathManagedConnection<E>> {
  readonly #connections = new Map<number, C>();
  /** Events that overtook the outcome of their connect, by token. */
  readonly #early = new Map<number, E[]>();
  #underWay = 0;
  #overruns = 0;

  /** Times the kernel had more events than room for them; connections were looked at one by one then. */
  get overruns(): number {
    return this.#overruns;
  }

  /** Runs a connect; events of tokens not known yet are kept meanwhile. */
  async during<T>(connect: () => Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await connect();
    } finally {
      if (--this.#underWay === 0) this.#early.clear();
    }
  }

  /** From now on its events go to it. */
  add(connection: C): void {
    if (connection.token !== undefined) this.#connections.set(connection.token, connection);
  }

  /** Its events that came before it was added. */
  deliverEarly(connection: C): void {
    if (connection.token === undefined) return;
    const events = this.#early.get(connection.token) ?? [];
    this.#early.delete(connection.token);
    for (const event of events) connection.onKernelEvent(event);
  }

  forget(connection: PathManagedConnection<E>): void {
    if (connection.token !== undefined && this.#connections.get(connection.token) === connection)
      this.#connections.delete(connection.token);
  }

  deliver(event: E): void {
    const connection = this.#connections.get(event.token);
    if (connection) connection.onKernelEvent(event);
    else if (this.#underWay > 0) this.#keepEarly(event);
  }

  /** Of a connection that has not been told to us yet, perhaps; or of somebody else's. */
  #keepEarly(event: E): void {
    const known = this.#early.get(event.token);
    if (known) known.push(event);
    else this.#early.set(event.token, [event]);
    if (this.#early.size > MAX_EARLY) this.#early.delete(this.#early.keys().next().value!);
  }

  /** Events were lost. */
  overrun(): void {
    this.#overruns++;
    for (const connection of [...this.#connections.values()]) connection.resynchronise();
  }

  dispose(): void {
    for (const connection of [...this.#connections.values()]) connection.dispose();
  }
}

/** What a connection needs of the connector that made it. */
export interface ConnectionOwner<E extends { token: number }> {
  readonly clock: Clock;
  forget(connection: PathManagedConnection<E>): void;
  /** Closes a descriptor so that the peer gets a RST. */
  reset(descriptor: SocketHandle): void;
}

/** What is shown of a subflow beside what its record says. */
export type SubflowCounters = Required<
  Pick<SubflowInfo, 'bytesSent' | 'bytesReceived' | 'retransmits' | 'rttMs' | 'congestionWindow'>
>;

export abstract class PathManagedConnection<
  E extends { token: number },
  Counters extends SubflowCounters = SubflowCounters,
> implements MptcpConnection {
  readonly token?: number;
  protected readonly table: SubflowTable;
  protected readonly counters = new Map<number, Counters>();
  readonly #listeners: ((event: MptcpEvent) => void)[] = [];
  /** Told before anybody listens. */
  #early: MptcpEvent[] = [];
  #protocol: 'mptcp' | 'tcp';
  #established = false;
  #disposed = false;
  #closed = false;

  protected constructor(
    private readonly owner: ConnectionOwner<E>,
    readonly socket: SocketHandle,
    readonly flow: Flow,
    protocol: 'mptcp' | 'tcp',
    token: number | undefined,
  ) {
    this.table = new SubflowTable({ local: flow.local, remote: flow.remote }, owner.clock.now());
    this.#protocol = protocol;
    if (token !== undefined && token !== 0) this.token = token;
  }

  get protocol(): 'mptcp' | 'tcp' {
    return this.#protocol;
  }

  protected get established(): boolean {
    return this.#established;
  }

  protected get disposed(): boolean {
    return this.#disposed;
  }

  /** Nothing more is to be had of it: the kernel has said that it is over, or we want no more of it. */
  protected get over(): boolean {
    return this.#disposed || this.#closed;
  }

  // ---------------------------------------------------------------- what the kernel tells

  /** @internal */
  abstract onKernelEvent(event: E): void;

  /** @internal Events were lost: compare with what the kernel says. */
  abstract resynchronise(): void;

  /** Remembers in `counters` what the kernel counts now. */
  protected abstract look(): unknown;

  #emit(event: MptcpEvent): void {
    if (this.#disposed) return;
    if (this.#listeners.length === 0) this.#early.push(event);
    else for (const listener of this.#listeners) listener(event);
  }

  protected becomeEstablished(): void {
    if (this.#established) return;
    this.#established = true;
    this.#emit({ type: 'established' });
  }

  protected fallBack(): void {
    if (this.#protocol === 'tcp') return;
    this.#protocol = 'tcp';
    this.owner.forget(this);
    this.#emit({ type: 'fallback' });
  }

  protected end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#emit({ type: 'closed' });
    this.owner.forget(this);
  }

  protected announced(remote: Endpoint, addressId: number): void {
    this.#emit({
      type: 'announced',
      address: remote.address,
      ...(remote.port === 0 ? {} : { port: remote.port }),
      addressId,
    });
  }

  protected subflowJoined(local: Endpoint | undefined, remote: Endpoint | undefined): void {
    const record = this.table.established(local, remote, this.owner.clock.now());
    if (!record) return;
    this.#emit({ type: 'subflow-established', subflow: this.subflow(record) });
    this.onJoined(record);
  }

  /** A further subflow has been established, and that has been told. */
  protected onJoined(_record: SubflowRecord): void {}

  /** `error`: its code, where the kernel has said why. */
  protected subflowClosed(local: Endpoint | undefined, remote: Endpoint | undefined, error?: string): void {
    const outcome = this.table.closed(local, remote, this.owner.clock.now());
    if (!outcome) return;
    const { record, refused } = outcome;
    const code = error ?? (refused ? 'ELIMIT' : undefined);
    this.#emit({
      type: 'subflow-closed',
      subflow: this.subflow(record),
      ...(code === undefined ? {} : { code }),
      ...(refused ? { refused: true } : {}),
    });
    for (const id of this.table.prune(KEEP_CLOSED)) this.onPruned(id);
  }

  /** A subflow that has been closed for long is forgotten. */
  protected onPruned(id: number): void {
    this.counters.delete(id);
  }

  /** Makes up for events that were lost, from what the kernel says of each subflow now; undefined: nothing. */
  protected compare(stateOf: (record: SubflowRecord) => SubflowState | undefined): void {
    for (const record of this.table.list()) {
      if (record.state === 'closed') continue;
      const state = stateOf(record);
      if (record.state === 'joining' && state === 'established')
        this.subflowJoined(record.local, record.remote);
      else if (record.state === 'established' && state === 'closed')
        this.subflowClosed(record.local, record.remote);
    }
  }

  // ---------------------------------------------------------------- what the gateway asks

  onEvent(listener: (event: MptcpEvent) => void): void {
    this.#listeners.push(listener);
    const early = this.#early;
    this.#early = [];
    for (const event of early) listener(event);
  }

  protected subflow({ id, local, remote, state, backup }: SubflowRecord): Subflow {
    return { id, flow: { local, remote }, state, backup };
  }

  subflows(): SubflowInfo[] {
    this.look();
    return this.table.list().map((record) => {
      const counted = this.counters.get(record.id);
      return {
        ...this.subflow(record),
        ...(counted === undefined
          ? {}
          : {
              bytesSent: counted.bytesSent,
              bytesReceived: counted.bytesReceived,
              retransmits: counted.retransmits,
              rttMs: counted.rttMs,
              congestionWindow: counted.congestionWindow,
            }),
      };
    });
  }

  /** The token. @throws PlatformError ENOTCONN, EOPNOTSUPP */
  protected needMptcp(doing: string): number {
    if (this.over) throw new PlatformError(`${doing}: the connection is closed`, 'ENOTCONN');
    if (this.#protocol === 'tcp' || this.token === undefined)
      throw new PlatformError(
        `${doing}: the connection is plain TCP, its server does not speak MPTCP`,
        'EOPNOTSUPP',
      );
    return this.token;
  }

  /** The token, where one more subflow may be added. @throws PlatformError also EAGAIN, ELIMIT */
  protected needRoom(): number {
    const token = this.needMptcp('adding a subflow');
    if (!this.#established)
      throw new PlatformError('adding a subflow: no data has been exchanged yet', 'EAGAIN');
    if (this.table.full)
      throw new PlatformError(
        `adding a subflow: the peer takes ${this.table.limit} besides the first`,
        'ELIMIT',
      );
    return token;
  }

  /** @throws PlatformError ENOENT */
  protected find(id: number, doing: string): SubflowRecord {
    const record = this.table.get(id);
    if (!record || record.state === 'closed')
      throw new PlatformError(`${doing}: there is no subflow ${id}`, 'ENOENT');
    return record;
  }

  abstract addSubflow(request: SubflowRequest): Promise<Subflow>;
  abstract removeSubflow(id: number): Promise<void>;
  abstract setBackup(id: number, backup: boolean): Promise<void>;

  write(octets: Uint8Array): void {
    try {
      writeSync(this.socket, octets);
    } catch (error) {
      const { address, port } = this.flow.remote;
      const to = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
      throw new PlatformError(`writing to ${to}: ${(error as Error).message}`, codeOf(error), {
        cause: error,
      });
    }
  }

  abandon(): void {
    if (this.#disposed) return;
    this.owner.reset(this.socket);
    this.dispose();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.owner.forget(this);
    this.#listeners.length = 0;
    this.#early = [];
  }
}
