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
import type { NativeDescriptors } from '../../native/linux/sockets.types.js';
import type {
  NativeMptcpConnection,
  NativeMptcpControl,
  NativeMptcpEvent,
  NativeMptcpPart,
} from '../../native/freebsd/mptcp.types.js';
import type { FlowRegistry } from './client-source.js';
import {
  codeOf,
  type ConnectionOwner,
  PathManagedConnection,
  PathManagedConnections,
} from '../path-managed.js';
import {
  type Clock,
  type Endpoint,
  type Flow,
  PlatformError,
  type SocketHandle,
  type Subflow,
  type SubflowRequest,
} from '../platform.js';

/** Local ports tried for a subflow before EADDRINUSE is given up to. */
const ATTEMPTS = 64;
/** Events are taken in pieces; a peer that makes many must not keep the loop. */
const MAX_PIECES = 64;

const same = (a: Endpoint, b: Endpoint): boolean => a.address === b.address && a.port === b.port;

export interface MultipathParts {
  native: NativeMptcpPart;
  descriptors: NativeDescriptors;
  clock: Clock;
  nextPort(address: string): number;
}

export class Multipath implements ConnectionOwner<NativeMptcpEvent> {
  readonly #control: NativeMptcpControl;
  readonly #connections = new PathManagedConnections<NativeMptcpEvent, MultipathConnection>();

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

  get clock(): Clock {
    return this.parts.clock;
  }

  get overruns(): number {
    return this.#connections.overruns;
  }

  /** Runs a connect; events of tokens not known yet are kept meanwhile. */
  during<T>(connect: () => Promise<T>): Promise<T> {
    return this.#connections.during(connect);
  }

  /** A connected socket's connection; within `during`. `registry`: it is in a client's name, and so will be its subflows. */
  connection(descriptor: SocketHandle, flow: Flow, registry?: FlowRegistry): MultipathConnection {
    const lost = this.overruns;
    this.#onEvents();
    const state = this.parts.native.socket(descriptor);
    const connection = new MultipathConnection(this, descriptor, flow, state, registry);
    this.#connections.add(connection);
    this.#connections.deliverEarly(connection);
    if (connection.token !== undefined && this.overruns !== lost) connection.resynchronise();
    return connection;
  }

  forget(connection: PathManagedConnection<NativeMptcpEvent>): void {
    this.#connections.forget(connection);
  }

  reset(descriptor: SocketHandle): void {
    this.parts.descriptors.reset(descriptor);
  }

  #onEvents(): void {
    let lost = false;
    for (let pieces = 0; pieces < MAX_PIECES; pieces++) {
      const events = this.#control.events();
      if (events.length === 0) break;
      for (const event of events) {
        lost ||= event.lost > 0;
        this.#connections.deliver(event);
      }
    }
    if (lost) this.#connections.overrun();
  }

  close(): void {
    this.#connections.dispose();
    this.#control.close();
  }
}

export class MultipathConnection extends PathManagedConnection<
  NativeMptcpEvent,
  NativeMptcpConnection['subflows'][number]
> {
  /** The kernel's number of a subflow, by ours. */
  readonly #numbers = new Map<number, number>([[0, 0]]);

  constructor(
    private readonly multipath: Multipath,
    socket: SocketHandle,
    flow: Flow,
    state: NativeMptcpConnection | undefined,
    private readonly registry?: FlowRegistry,
  ) {
    super(multipath, socket, flow, 'mptcp', state?.token);
    if (!state || state.state === 'fallback' || this.token === undefined) this.fallBack();
  }

  /** @internal */
  onKernelEvent(event: NativeMptcpEvent): void {
    switch (event.type) {
      case 'established':
        this.becomeEstablished();
        break;
      case 'fallback':
        this.fallBack();
        break;
      case 'subflow-up':
        this.subflowJoined(event.local, event.remote);
        break;
      case 'subflow-down':
        this.subflowClosed(event.local, event.remote, event.error);
        break;
      case 'announced':
        this.announced(event.remote, event.addressId);
        break;
      case 'closed':
        this.end();
        break;
      case 'created':
      case 'removed':
      case 'subflow-priority':
        break;
    }
  }

  protected override onPruned(id: number): void {
    super.onPruned(id);
    this.#numbers.delete(id);
  }

  /** @internal */
  resynchronise(): void {
    const seen = this.look();
    if (seen === undefined) {
      this.end();
      return;
    }
    if (seen.state === 'fallback') this.fallBack();
    else if (seen.state === 'established') this.becomeEstablished();
    this.compare(({ id }) => this.counters.get(id)?.state);
  }

  /** What the kernel counts now, remembered by subflow. undefined: the connection is gone. */
  protected look(): NativeMptcpConnection | undefined {
    if (this.over) return undefined;
    // By its token: the descriptor belongs to the relay, which may have closed it. Plain TCP has none.
    const seen =
      this.token === undefined || this.protocol === 'tcp'
        ? this.#ownSocket()
        : this.multipath.control.connection(this.token);
    if (seen === undefined) return undefined;
    for (const record of this.table.list()) {
      const info = seen.subflows.find(
        (one) =>
          same({ address: one.localAddress, port: one.localPort }, record.local) &&
          same({ address: one.remoteAddress, port: one.remotePort }, record.remote),
      );
      if (info) this.counters.set(record.id, info);
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

  async addSubflow(request: SubflowRequest): Promise<Subflow> {
    const token = this.needRoom();
    const { nextPort } = this.multipath.parts;
    for (let attempt = 0; ; attempt++) {
      const local = { address: request.localAddress, port: nextPort(request.localAddress) };
      const remote = { ...request.remote };
      const backup = request.backup ?? false;
      const record = this.table.add(local, remote, { backup, now: this.multipath.clock.now() });
      if (!record) throw new PlatformError('adding a subflow: no number is free', 'ELIMIT');
      try {
        request.beforeSyn({ local, remote });
        this.registry?.register({ local, remote });
        this.#numbers.set(record.id, this.multipath.control.addSubflow(token, local, remote, backup));
        return this.subflow(record);
      } catch (error) {
        this.table.cancel(record.id);
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

  /** The kernel's number. @throws PlatformError ENOENT */
  #number(id: number, doing: string): number {
    const number = this.#numbers.get(this.find(id, doing).id);
    if (number === undefined) throw new PlatformError(`${doing}: there is no subflow ${id}`, 'ENOENT');
    return number;
  }

  async removeSubflow(id: number): Promise<void> {
    const token = this.needMptcp('removing a subflow');
    const number = this.#number(id, 'removing a subflow');
    this.look();
    this.table.markRemoving(id);
    // Gone in between: its event is on the way.
    this.multipath.control.removeSubflow(token, number);
  }

  async setBackup(id: number, backup: boolean): Promise<void> {
    const token = this.needMptcp('changing a subflow');
    const record = this.find(id, 'changing a subflow');
    this.multipath.control.setBackup(token, this.#number(id, 'changing a subflow'), backup);
    record.backup = backup;
  }
}
