// SPDX-License-Identifier: BSD-2-Clause

/**
 * MptcpConnector on the kernel's MPTCP, with this process as path manager.
 *
 *   prepare (socket, options, bind) -> beforeSyn (the caller pins the 5-tuple) -> connect -> up
 *   events of the path manager -> SubflowTable of the connection -> listener
 *
 * The kernel tells of every MPTCP connection of the network namespace; a connection of ours is found by its token,
 * which exists from the moment connect() was called. That may be in another thread, so what is said of unknown tokens is kept
 * as long as any connect is under way.
 */
import { readFileSync } from 'node:fs';
import { nativePart } from '../../native/index.js';
import type { NativeMptcp, NativeSubflowInfo } from '../../native/linux/sockets.types.js';
import {
  decodeEvents,
  decodeFamily,
  decodeOutcome,
  encodeCommand,
  encodeFamilyRequest,
  EVENTS_GROUP,
  FAMILY_NAME,
  type PmCommand,
  type PmEvent,
} from '../../mptcp/path-manager.js';
import { LocalEndpoints } from '../../mptcp/ports.js';
import type { SubflowRecord } from '../../mptcp/subflows.js';
import {
  type Clock,
  type ConnectOptions,
  type Endpoint,
  type Flow,
  type MptcpConnection,
  type MptcpConnector,
  PlatformError,
  type SocketHandle,
  type Subflow,
  type SubflowRequest,
} from '../platform.js';
import {
  codeOf,
  type ConnectionOwner,
  PathManagedConnection,
  PathManagedConnections,
} from '../path-managed.js';
import { type HostNetwork, LISP_MARK } from './host-network.js';

/** Local endpoints tried before EADDRINUSE is given up to. */
const ATTEMPTS = 64;
/** Between the event and the kernel's readiness for a further subflow. */
const JOIN_RETRY_MS = [5, 100];
/**
 * Every further subflow joins as a backup, and becomes a regular one by MP_PRIO this long after its handshake. Linux as
 * the receiver (seen with 6.18) corrupts what is sent sooner: when the third ACK of an MP_JOIN finds the connection's
 * socket locked by its application, the subflow is added only once that lock is released, and its mapping is then set to
 * the next octet expected, over that of data which has arrived already. The connection's data is put in the wrong place.
 * MP_PRIO is not acknowledged (RFC 8684 section 3.3.8), so it is sent more than once.
 */
const REGULAR_AFTER_MS = [30, 250, 1250];
/** When a connection has not said by itself what it has become. */
const SETTLE_MS = [20, 200, 1000, 5000];

const ERRNO: Record<number, string> = {
  1: 'EPERM',
  3: 'ESRCH',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  16: 'EBUSY',
  22: 'EINVAL',
  71: 'EPROTO',
  95: 'EOPNOTSUPP',
  97: 'EAFNOSUPPORT',
  98: 'EADDRINUSE',
  99: 'EADDRNOTAVAIL',
  101: 'ENETUNREACH',
  104: 'ECONNRESET',
  107: 'ENOTCONN',
  110: 'ETIMEDOUT',
  111: 'ECONNREFUSED',
  113: 'EHOSTUNREACH',
};
const errnoName = (errno: number): string => ERRNO[errno] ?? `E${errno}`;

const asPlatformError = (error: unknown, doing: string): PlatformError =>
  error instanceof PlatformError
    ? error
    : new PlatformError(`${doing}: ${(error as Error).message}`, codeOf(error), { cause: error });

const show = ({ address, port }: Endpoint): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

const sameFlow = (info: NativeSubflowInfo, { local, remote }: Flow): boolean =>
  info.localPort === local.port &&
  info.remotePort === remote.port &&
  info.localAddress === local.address &&
  info.remoteAddress === remote.address;

export interface ConnectorOptions {
  host: HostNetwork;
  clock: Clock;
  native?: NativeMptcp;
  random?: () => number;
}

export class LinuxMptcpConnector implements MptcpConnector, ConnectionOwner<PmEvent> {
  readonly #host: HostNetwork;
  readonly #clock: Clock;
  readonly #native: NativeMptcp;
  readonly #endpoints: LocalEndpoints;
  readonly #connecting = new Map<number, (error: string | undefined) => void>();
  readonly #connections = new PathManagedConnections<PmEvent, LinuxMptcpConnection>();
  #multipath = false;
  #family = 0;
  #started = false;

  constructor({ host, clock, native, random }: ConnectorOptions) {
    this.#host = host;
    this.#clock = clock;
    this.#native = native ?? nativePart('mptcp');
    this.#endpoints = new LocalEndpoints(random);
  }

  get multipath(): boolean {
    return this.#multipath;
  }

  /** Times the kernel had more events than room for them; connections were looked at one by one then. */
  get overruns(): number {
    return this.#connections.overruns;
  }

  /** @internal */
  get clock(): Clock {
    return this.#clock;
  }

  async start(): Promise<void> {
    if (this.#started) return;
    this.#native.start(
      (batch) => {
        for (const { descriptor, error } of batch) {
          const settle = this.#connecting.get(descriptor);
          this.#connecting.delete(descriptor);
          settle?.(error);
        }
      },
      (batch, overrun) => this.#onEvents(batch, overrun),
    );
    this.#started = true;
    try {
      this.#multipath = await this.#startPathManager();
    } catch (error) {
      this.#native.stop();
      this.#started = false;
      throw asPlatformError(error, 'starting the MPTCP path manager');
    }
  }

  /** false: this kernel has no MPTCP, or none that can be steered; everything goes by plain TCP then. */
  async #startPathManager(): Promise<boolean> {
    if (readSysctl('net/mptcp/enabled') !== '1') return false;
    // Connections that are open keep the path manager they began with.
    if ((await this.#host.setSysctl('net.mptcp.path_manager', 'userspace')) === undefined)
      if ((await this.#host.setSysctl('net.mptcp.pm_type', '1')) === undefined) return false;
    const family = decodeFamily(this.#native.netlink(encodeFamilyRequest(FAMILY_NAME)));
    const group = family?.groups.get(EVENTS_GROUP);
    if (!family || group === undefined) return false;
    this.#family = family.id;
    this.#native.subscribe(group);
    return true;
  }

  async connect(options: ConnectOptions): Promise<MptcpConnection> {
    if (!this.#started) throw new PlatformError('the connector has not been started', 'EINVAL');
    const mptcp = options.multipath && this.#multipath;
    for (let attempt = 0; ; attempt++) {
      let descriptor: number | undefined;
      try {
        const prepared = this.#prepare(options, mptcp, attempt);
        descriptor = prepared.descriptor;
        const flow: Flow = {
          local: { address: prepared.localAddress, port: prepared.localPort },
          remote: { ...options.remote },
        };
        options.beforeSyn(flow);
        return await this.#connect(prepared.descriptor, flow, mptcp, options.timeoutMs);
      } catch (error) {
        if (descriptor !== undefined) nativePart('descriptors').close(descriptor);
        // The 4-tuple is still in TIME_WAIT: another port will do.
        const busy = codeOf(error) === 'EADDRINUSE' || codeOf(error) === 'EADDRNOTAVAIL';
        if (busy && attempt < ATTEMPTS && descriptor !== undefined && !this.#connecting.has(descriptor))
          continue;
        throw asPlatformError(error, `connect to ${show(options.remote)}`);
      }
    }
  }

  /** @throws PlatformError; the descriptor is the caller's then. */
  async #connect(
    descriptor: number,
    flow: Flow,
    mptcp: boolean,
    timeoutMs: number,
  ): Promise<LinuxMptcpConnection> {
    const { address, port } = flow.remote;
    return await this.#connections.during(async () => {
      const { overruns } = this;
      const error = this.#native.connect(descriptor, address, port, timeoutMs)
        ? undefined
        : await new Promise<string | undefined>((resolve) => this.#connecting.set(descriptor, resolve));
      if (error !== undefined) throw new PlatformError(`connect to ${show(flow.remote)}: ${error}`, error);
      const connection = new LinuxMptcpConnection(this, descriptor, flow, mptcp, this.#native);
      this.#connections.add(connection);
      connection.up();
      this.#connections.deliverEarly(connection);
      if (this.overruns !== overruns) connection.resynchronise();
      return connection;
    });
  }

  #prepare(
    options: ConnectOptions,
    mptcp: boolean,
    attempt: number,
  ): { descriptor: number; localAddress: string; localPort: number } {
    const localAddress =
      'prefix' in options.source
        ? this.#endpoints.nextAddress(options.source.prefix)
        : options.source.address;
    const wanted = 'address' in options.source && attempt === 0 ? options.source.port : undefined;
    for (let tries = 0; ; tries++) {
      const localPort = tries === 0 && wanted ? wanted : this.#endpoints.nextPort(localAddress);
      try {
        return this.#native.prepare({
          address: options.remote.address,
          port: options.remote.port,
          mptcp,
          // The client's address is not this host's, and IPv6 wants it for the addresses of a local prefix as well.
          // MP_JOINs inherit it, as they do the mark.
          transparent: true,
          localAddress,
          localPort,
          ...(options.viaLisp ? { mark: LISP_MARK } : {}),
          ...(options.congestionControl === undefined
            ? {}
            : { congestionControl: options.congestionControl }),
          ...(options.notSentLowat === undefined ? {} : { notSentLowat: options.notSentLowat }),
        });
      } catch (error) {
        if (codeOf(error) !== 'EADDRINUSE' || tries >= ATTEMPTS) throw error;
      }
    }
  }

  /** @internal One command to the path manager. @throws PlatformError */
  command(request: PmCommand): void {
    let outcome: { errno: number; message?: string };
    try {
      outcome = decodeOutcome(this.#native.netlink(encodeCommand(this.#family, request)));
    } catch (error) {
      throw asPlatformError(error, `path manager, ${request.command}`);
    }
    if (outcome.errno !== 0) {
      // The kernel says EINVAL for much; that the connection has ended meanwhile is not a wrong request.
      const code = outcome.message === 'invalid token' ? 'ESRCH' : errnoName(outcome.errno);
      throw new PlatformError(
        `path manager, ${request.command}: ${code}${outcome.message ? `, ${outcome.message}` : ''}`,
        code,
      );
    }
  }

  /** @internal */
  nextPort(address: string): number {
    return this.#endpoints.nextPort(address);
  }

  /** @internal */
  forget(connection: PathManagedConnection<PmEvent>): void {
    this.#connections.forget(connection);
  }

  /** @internal */
  reset(descriptor: SocketHandle): void {
    nativePart('descriptors').reset(descriptor);
  }

  #onEvents(batch: Buffer[], overrun: boolean): void {
    for (const datagram of batch)
      for (const event of decodeEvents(datagram)) this.#connections.deliver(event);
    if (overrun) this.#connections.overrun();
  }

  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    this.#native.stop();
    this.#multipath = false;
    this.#connections.dispose();
    // The native side has reported every connect under way as cancelled; the reports arrive with the next turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

class LinuxMptcpConnection extends PathManagedConnection<PmEvent, NativeSubflowInfo> {
  /** In the handshake. */
  readonly #fellBack: boolean;
  #timer: unknown;

  constructor(
    private readonly connector: LinuxMptcpConnector,
    descriptor: number,
    flow: Flow,
    mptcp: boolean,
    private readonly native: NativeMptcp,
  ) {
    const info = mptcp ? native.info(descriptor) : undefined;
    super(connector, descriptor, flow, mptcp ? 'mptcp' : 'tcp', info?.token);
    this.#fellBack = info === undefined || info.fallback;
  }

  /** The handshake is over: what has it become? */
  up(): void {
    if (this.protocol === 'tcp') return;
    if (this.#fellBack) this.fallBack();
    else this.#settle(0);
  }

  /** A fall-back after the handshake has no event: look a few times until the connection is established. */
  #settle(step: number): void {
    const delay = SETTLE_MS[step];
    if (delay === undefined || this.disposed) return;
    this.#timer = this.connector.clock.setTimeout(() => {
      this.#timer = undefined;
      if (this.disposed || this.established || this.protocol === 'tcp') return;
      const info = this.#info();
      if (info?.fallback) this.fallBack();
      else this.#settle(step + 1);
    }, delay);
  }

  /** The descriptor belongs to the relay, which may have closed it: the token tells whether it is still ours. */
  #info(): { fallback: boolean } | undefined {
    const info = this.native.info(this.socket);
    return info && info.token === this.token ? info : undefined;
  }

  /** @internal */
  onKernelEvent(event: PmEvent): void {
    switch (event.event) {
      case 'established':
        this.becomeEstablished();
        break;
      case 'subflow-established':
        this.subflowJoined(event.local, event.remote);
        break;
      case 'subflow-closed':
        this.subflowClosed(
          event.local,
          event.remote,
          event.error === undefined ? undefined : errnoName(event.error),
        );
        break;
      case 'subflow-priority':
        this.table.priority(event.local, event.remote, event.backup ?? false);
        break;
      case 'announced':
        if (event.remote) this.announced(event.remote, event.remoteId ?? 0);
        break;
      case 'closed':
        this.end();
        break;
      case 'created':
      case 'removed':
        break;
    }
  }

  protected override onJoined(record: SubflowRecord): void {
    for (const delay of REGULAR_AFTER_MS) {
      this.connector.clock.setTimeout(() => {
        if (this.over || record.state !== 'established' || record.backup) return;
        try {
          this.#setPriority(record, false);
        } catch {
          // Gone in between, and its event is on the way; or the kernel is short of memory, and there is another time.
        }
      }, delay);
    }
  }

  #setPriority(record: SubflowRecord, backup: boolean): void {
    if (this.token === undefined) return;
    const { local, remote } = record;
    this.connector.command({ command: 'set-flags', token: this.token, local, remote, backup });
  }

  /** @internal */
  resynchronise(): void {
    const seen = this.look();
    if (!seen) return;
    if (this.protocol === 'mptcp' && !this.established && this.#info()?.fallback === false)
      this.becomeEstablished();
    this.compare((record) => (seen.some((info) => sameFlow(info, record)) ? 'established' : 'closed'));
  }

  /** What the kernel counts now, remembered by subflow. undefined: the socket is gone. */
  protected look(): NativeSubflowInfo[] | undefined {
    if (this.over) return undefined;
    const seen = this.native.subflows(this.socket);
    if (!seen || seen.token !== (this.token ?? 0)) return undefined;
    // A TCP socket has no token: that the descriptor is not somebody else's by now is told by the addresses.
    if (this.token === undefined && !(seen.subflows[0] && sameFlow(seen.subflows[0], this.flow)))
      return undefined;
    for (const record of this.table.list()) {
      if (record.state === 'closed') continue;
      const info = seen.subflows.find((one) => sameFlow(one, record));
      if (info) this.counters.set(record.id, info);
    }
    return seen.subflows;
  }

  async addSubflow(request: SubflowRequest): Promise<Subflow> {
    const token = this.needRoom();
    const backup = request.backup ?? false;
    let retries = 0;
    for (let attempt = 0; ; attempt++) {
      const local = { address: request.localAddress, port: this.connector.nextPort(request.localAddress) };
      // The kernel binds the port only when the SYN is about to leave, after the pin was made: look first.
      if (!this.#portFree(local) && attempt < ATTEMPTS) continue;
      const record = this.table.add(
        local,
        { ...request.remote },
        { backup, now: this.connector.clock.now() },
      );
      if (!record) throw new PlatformError('adding a subflow: no Address ID is free', 'ELIMIT');
      try {
        request.beforeSyn({ local, remote: { ...request.remote } });
        this.connector.command({
          command: 'subflow-create',
          token,
          local: { ...local, id: record.id },
          remote: request.remote,
          backup: true,
        });
        return this.subflow(record);
      } catch (error) {
        this.table.cancel(record.id);
        const code = codeOf(error);
        if (code === 'EADDRINUSE' && attempt < ATTEMPTS) continue;
        // Not yet fully established, whatever the event said; or, for good, half-closed already.
        const delay = code === 'ENOTCONN' ? JOIN_RETRY_MS[retries++] : undefined;
        if (delay !== undefined) {
          await new Promise<void>((resolve) => this.connector.clock.setTimeout(resolve, delay));
          this.needMptcp('adding a subflow');
          continue;
        }
        if (code === 'ENOTCONN')
          throw new PlatformError((error as Error).message, 'EAGAIN', { cause: error });
        throw error;
      }
    }
  }

  #portFree(local: Endpoint): boolean {
    try {
      return this.native.portFree(local.address, local.port);
    } catch {
      return true;
    }
  }

  async removeSubflow(id: number): Promise<void> {
    const token = this.needMptcp('removing a subflow');
    const record = this.find(id, 'removing a subflow');
    this.look();
    this.table.markRemoving(id);
    // RM_ADDR travels on the others: the peer gives the subflow up at once and sends again, elsewhere, what was on
    // its way there. A FIN or RST on the path itself may never arrive.
    try {
      this.connector.command({ command: 'remove', token, localId: id });
    } catch (error) {
      // Not announced, or the peer has removed it: then closing it is all there is to do.
      if (!['EINVAL', 'ENOENT', 'ESRCH'].includes(codeOf(error))) throw error;
    }
    try {
      this.connector.command({
        command: 'subflow-destroy',
        token,
        local: record.local,
        remote: record.remote,
      });
    } catch (error) {
      if (codeOf(error) !== 'ESRCH') throw error;
      // Closed in between; its event is on the way, or was lost.
    }
  }

  async setBackup(id: number, backup: boolean): Promise<void> {
    this.needMptcp('changing a subflow');
    const record = this.find(id, 'changing a subflow');
    this.#setPriority(record, backup);
    record.backup = backup;
  }

  /** MP_PRIO that says what holds already: it goes out at once, and every segment of MPTCP's has the DATA_ACK. */
  acknowledge(): void {
    const first = this.table.get(0);
    if (this.over || this.protocol !== 'mptcp' || first?.state !== 'established') return;
    try {
      this.#setPriority(first, first.backup);
    } catch {
      // It was an attempt to be faster than the server's timer, which will do.
    }
  }

  override dispose(): void {
    if (this.#timer !== undefined) this.connector.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    super.dispose();
  }
}
