// SPDX-License-Identifier: BSD-2-Clause

/**
 * MPTCP connections by mptcp(4): which there are, and what /dev/mptcp tells of them.
 *
 *   /dev/mptcp --events--> Multipath --by token--> MultipathConnection --> listener
 *              <--add, remove, priority----------------'
 *
 * The device tells of every connection of the network stack. One of ours is known by its token, which its socket says once it
 * is connected; what was told of it before is kept as long as any connect is under way.
 */
import { writeSync } from 'node:fs';
import type { NativeDescriptors } from '../../native/linux/sockets.types.js';
import type {
  NativeMptcpConnection,
  NativeMptcpControl,
  NativeMptcpEvent,
  NativeMptcpPart,
} from '../../native/freebsd/mptcp.types.js';
import { type SubflowRecord, SubflowTable } from '../../mptcp/subflows.js';
import type { FlowRegistry } from './client-source.js';
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
} from '../platform.js';

/** Local ports tried for a subflow before EADDRINUSE is given up to. */
const ATTEMPTS = 64;
/** Tokens whose events are kept until their connect is known to have succeeded. */
const MAX_EARLY = 1024;
/** Closed subflows whose counters are remembered. */
const KEEP_CLOSED = 16;
/** Events are taken in pieces; a peer that makes many must not keep the loop. */
const MAX_PIECES = 64;

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'EIO';
const same = (a: Endpoint, b: Endpoint): boolean => a.address === b.address && a.port === b.port;

export interface MultipathParts {
  native: NativeMptcpPart;
  descriptors: NativeDescriptors;
  clock: Clock;
  nextPort(address: string): number;
}

export class Multipath {
  readonly #control: NativeMptcpControl;
  readonly #connections = new Map<number, MultipathConnection>();
  /** Events that overtook the outcome of their connect, by token. */
  readonly #early = new Map<number, NativeMptcpEvent[]>();
  #underWay = 0;
  #lost = 0;

  /** @throws Error when the descriptor is none of a module this program knows. */
  constructor(
    readonly parts: MultipathParts,
    descriptor: number,
  ) {
    this.#control = new parts.native.Control(descriptor, () => this.#onEvents());
  }

  get control(): NativeMptcpControl {
    return this.#control;
  }

  /** Times the kernel had more events than room for them; connections were looked at one by one then. */
  get overruns(): number {
    return this.#lost;
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

  /** A connected socket's connection; within `during`. `registry`: it is in a client's name, and so will be its subflows. */
  connection(descriptor: SocketHandle, flow: Flow, registry?: FlowRegistry): MultipathConnection {
    const lost = this.#lost;
    this.#onEvents();
    const state = this.parts.native.socket(descriptor);
    const connection = new MultipathConnection(this, descriptor, flow, state, registry);
    const { token } = connection;
    if (token === undefined) return connection;
    this.#connections.set(token, connection);
    const early = this.#early.get(token) ?? [];
    this.#early.delete(token);
    for (const event of early) connection.onKernelEvent(event);
    if (this.#lost !== lost) connection.resynchronise();
    return connection;
  }

  forget(connection: MultipathConnection): void {
    if (connection.token !== undefined && this.#connections.get(connection.token) === connection)
      this.#connections.delete(connection.token);
  }

  #onEvents(): void {
    let lost = false;
    for (let pieces = 0; pieces < MAX_PIECES; pieces++) {
      const events = this.#control.events();
      if (events.length === 0) break;
      for (const event of events) {
        lost ||= event.lost > 0;
        const connection = this.#connections.get(event.token);
        if (connection) connection.onKernelEvent(event);
        else if (this.#underWay > 0) this.#keepEarly(event);
      }
    }
    if (!lost) return;
    this.#lost++;
    for (const connection of [...this.#connections.values()]) connection.resynchronise();
  }

  /** Of a connection that has not been told to us yet, perhaps; or of somebody else's. */
  #keepEarly(event: NativeMptcpEvent): void {
    const known = this.#early.get(event.token);
    if (known) known.push(event);
    else this.#early.set(event.token, [event]);
    if (this.#early.size > MAX_EARLY) this.#early.delete(this.#early.keys().next().value!);
  }

  close(): void {
    for (const connection of [...this.#connections.values()]) connection.dispose();
    this.#control.close();
  }
}

type SubflowCounters = NativeMptcpConnection['subflows'][number];

export class MultipathConnection implements MptcpConnection {
  readonly token?: number;
  readonly #table: SubflowTable;
  /** The kernel's number of a subflow, by ours. */
  readonly #numbers = new Map<number, number>([[0, 0]]);
  readonly #counters = new Map<number, SubflowCounters>();
  readonly #listeners: ((event: MptcpEvent) => void)[] = [];
  /** Told before anybody listens. */
  #early: MptcpEvent[] = [];
  #protocol: 'mptcp' | 'tcp' = 'mptcp';
  #established = false;
  #disposed = false;
  #closed = false;

  constructor(
    private readonly multipath: Multipath,
    readonly socket: SocketHandle,
    readonly flow: Flow,
    state: NativeMptcpConnection | undefined,
    private readonly registry?: FlowRegistry,
  ) {
    this.#table = new SubflowTable({ local: flow.local, remote: flow.remote }, this.#clock.now());
    if (state && state.token !== 0) this.token = state.token;
    if (!state || state.state === 'fallback' || this.token === undefined) this.#fallBack();
  }

  get #clock(): Clock {
    return this.multipath.parts.clock;
  }

  get protocol(): 'mptcp' | 'tcp' {
    return this.#protocol;
  }

  #emit(event: MptcpEvent): void {
    if (this.#disposed) return;
    if (this.#listeners.length === 0) this.#early.push(event);
    else for (const listener of this.#listeners) listener(event);
  }

  onEvent(listener: (event: MptcpEvent) => void): void {
    this.#listeners.push(listener);
    const early = this.#early;
    this.#early = [];
    for (const event of early) listener(event);
  }

  #subflow({ id, local, remote, state, backup }: SubflowRecord): Subflow {
    return { id, flow: { local, remote }, state, backup };
  }

  // ---------------------------------------------------------------- what the kernel tells

  /** @internal */
  onKernelEvent(event: NativeMptcpEvent): void {
    switch (event.type) {
      case 'established':
        this.#becomeEstablished();
        break;
      case 'fallback':
        this.#fallBack();
        break;
      case 'subflow-up': {
        const record = this.#table.established(event.local, event.remote, this.#clock.now());
        if (record) this.#subflowEstablished(record);
        break;
      }
      case 'subflow-down':
        this.#subflowClosed(event);
        break;
      case 'announced':
        this.#emit({
          type: 'announced',
          address: event.remote.address,
          ...(event.remote.port === 0 ? {} : { port: event.remote.port }),
          addressId: event.addressId,
        });
        break;
      case 'closed':
        this.#over();
        break;
      case 'created':
      case 'removed':
      case 'subflow-priority':
        break;
    }
  }

  #becomeEstablished(): void {
    if (this.#established) return;
    this.#established = true;
    this.#emit({ type: 'established' });
  }

  #fallBack(): void {
    if (this.#protocol === 'tcp') return;
    this.#protocol = 'tcp';
    this.multipath.forget(this);
    this.#emit({ type: 'fallback' });
  }

  #over(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#emit({ type: 'closed' });
    this.multipath.forget(this);
  }

  #subflowEstablished(record: SubflowRecord): void {
    this.#emit({ type: 'subflow-established', subflow: this.#subflow(record) });
  }

  #subflowClosed({ local, remote, error }: Pick<NativeMptcpEvent, 'local' | 'remote' | 'error'>): void {
    const outcome = this.#table.closed(local, remote, this.#clock.now());
    if (!outcome) return;
    const { record, refused } = outcome;
    const code = error ?? (refused ? 'ELIMIT' : undefined);
    this.#emit({
      type: 'subflow-closed',
      subflow: this.#subflow(record),
      ...(code === undefined ? {} : { code }),
      ...(refused ? { refused: true } : {}),
    });
    for (const id of this.#table.prune(KEEP_CLOSED)) {
      this.#counters.delete(id);
      this.#numbers.delete(id);
    }
  }

  /** @internal Events were lost: compare with what the kernel says. */
  resynchronise(): void {
    const seen = this.#look();
    if (seen === undefined) {
      this.#over();
      return;
    }
    if (seen.state === 'fallback') this.#fallBack();
    else if (seen.state === 'established') this.#becomeEstablished();
    for (const record of this.#table.list()) {
      if (record.state === 'closed') continue;
      const there = this.#counters.get(record.id);
      if (record.state === 'joining' && there?.state === 'established') {
        const changed = this.#table.established(record.local, record.remote, this.#clock.now());
        if (changed) this.#subflowEstablished(changed);
      } else if (record.state === 'established' && there?.state === 'closed') {
        this.#subflowClosed(record);
      }
    }
  }

  /** What the kernel counts now, remembered by subflow. undefined: the connection is gone. */
  #look(): NativeMptcpConnection | undefined {
    if (this.#closed || this.#disposed) return undefined;
    // By its token: the descriptor belongs to the relay, which may have closed it. Plain TCP has none.
    const seen =
      this.token === undefined || this.#protocol === 'tcp'
        ? this.#ownSocket()
        : this.multipath.control.connection(this.token);
    if (seen === undefined) return undefined;
    for (const record of this.#table.list()) {
      const info = seen.subflows.find(
        (one) =>
          same({ address: one.localAddress, port: one.localPort }, record.local) &&
          same({ address: one.remoteAddress, port: one.remotePort }, record.remote),
      );
      if (info) this.#counters.set(record.id, info);
    }
    return seen;
  }

  /** The descriptor may be somebody else's by now; the addresses tell. */
  #ownSocket(): NativeMptcpConnection | undefined {
    const seen = this.multipath.parts.native.socket(this.socket);
    const first = seen?.subflows[0];
    const ours =
      first?.localPort === this.flow.local.port &&
      first.localAddress === this.flow.local.address &&
      first.remotePort === this.flow.remote.port;
    return ours ? seen : undefined;
  }

  // ---------------------------------------------------------------- what the gateway asks

  subflows(): SubflowInfo[] {
    this.#look();
    return this.#table.list().map((record) => {
      const counted = this.#counters.get(record.id);
      return {
        ...this.#subflow(record),
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

  #needMptcp(doing: string): number {
    if (this.#disposed || this.#closed)
      throw new PlatformError(`${doing}: the connection is closed`, 'ENOTCONN');
    if (this.#protocol === 'tcp' || this.token === undefined)
      throw new PlatformError(
        `${doing}: the connection is plain TCP, its server does not speak MPTCP`,
        'EOPNOTSUPP',
      );
    return this.token;
  }

  async addSubflow(request: SubflowRequest): Promise<Subflow> {
    const token = this.#needMptcp('adding a subflow');
    if (!this.#established)
      throw new PlatformError('adding a subflow: no data has been exchanged yet', 'EAGAIN');
    if (this.#table.full)
      throw new PlatformError(
        `adding a subflow: the peer takes ${this.#table.limit} besides the first`,
        'ELIMIT',
      );
    const { nextPort } = this.multipath.parts;
    for (let attempt = 0; ; attempt++) {
      const local = { address: request.localAddress, port: nextPort(request.localAddress) };
      const remote = { ...request.remote };
      const backup = request.backup ?? false;
      const record = this.#table.add(local, remote, { backup, now: this.#clock.now() });
      if (!record) throw new PlatformError('adding a subflow: no number is free', 'ELIMIT');
      try {
        request.beforeSyn({ local, remote });
        this.registry?.register({ local, remote });
        this.#numbers.set(record.id, this.multipath.control.addSubflow(token, local, remote, backup));
        return this.#subflow(record);
      } catch (error) {
        this.#table.cancel(record.id);
        this.registry?.forget({ local, remote });
        const code = codeOf(error);
        // Taken, or the 4-tuple is still in TIME_WAIT: another port will do.
        if ((code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL') && attempt < ATTEMPTS) continue;
        throw error instanceof PlatformError
          ? error
          : new PlatformError(
              `adding a subflow: ${(error as Error).message}`,
              code === 'ENOBUFS' ? 'ELIMIT' : code === 'ENOENT' ? 'ESRCH' : code,
              { cause: error },
            );
      }
    }
  }

  /** @throws PlatformError ENOENT */
  #find(id: number, doing: string): SubflowRecord {
    const record = this.#table.get(id);
    if (!record || record.state === 'closed' || !this.#numbers.has(id))
      throw new PlatformError(`${doing}: there is no subflow ${id}`, 'ENOENT');
    return record;
  }

  async removeSubflow(id: number): Promise<void> {
    const token = this.#needMptcp('removing a subflow');
    this.#find(id, 'removing a subflow');
    this.#look();
    this.#table.markRemoving(id);
    // Gone in between: its event is on the way.
    this.multipath.control.removeSubflow(token, this.#numbers.get(id)!);
  }

  async setBackup(id: number, backup: boolean): Promise<void> {
    const token = this.#needMptcp('changing a subflow');
    const record = this.#find(id, 'changing a subflow');
    this.multipath.control.setBackup(token, this.#numbers.get(id)!, backup);
    record.backup = backup;
  }

  write(octets: Uint8Array): void {
    try {
      writeSync(this.socket, octets);
    } catch (error) {
      throw new PlatformError(
        `writing to ${this.flow.remote.address}: ${(error as Error).message}`,
        codeOf(error),
        { cause: error },
      );
    }
  }

  abandon(): void {
    if (this.#disposed) return;
    this.multipath.parts.descriptors.reset(this.socket);
    this.dispose();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.multipath.forget(this);
    this.#listeners.length = 0;
    this.#early = [];
  }
}
