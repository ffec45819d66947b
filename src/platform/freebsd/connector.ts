// SPDX-License-Identifier: BSD-2-Clause

/**
 * MptcpConnector on mptcp(4), with this process as path manager; by plain TCP, one subflow over the path the gateway puts first,
 * where the module is not there or not wanted.
 *
 *   prepare (socket, options, bind) -> beforeSyn (the caller pins the 5-tuple) -> connect -> up
 *                                                             multipath.ts: further subflows, events
 */
import type { NativeConnector, NativeInterception } from '../../native/freebsd/interception.types.js';
import type { NativeMptcpPart } from '../../native/freebsd/mptcp.types.js';
import type { NativeDescriptors } from '../../native/linux/sockets.types.js';
import { LocalEndpoints } from '../../mptcp/ports.js';
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
  type SubflowInfo,
} from '../platform.js';
import { ClientSource } from './client-source.js';
import { type FreeBsdHost, LISP_FIB, localAddresses } from './host.js';
import { Multipath } from './multipath.js';

/** Local endpoints tried before EADDRINUSE is given up to. */
const ATTEMPTS = 64;

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'EIO';
const show = ({ address, port }: Endpoint): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

export interface ConnectorOptions {
  native: NativeConnector;
  descriptors: NativeDescriptors;
  /** For connections from the clients' own addresses. */
  interception: NativeInterception;
  host: FreeBsdHost;
  /** mptcp(4), and how its device is opened. */
  mptcp?: { native: NativeMptcpPart; clock: Clock; open(): Promise<number> };
  random?: () => number;
  warn?(message: string): void;
}

export class FreeBsdConnector implements MptcpConnector {
  readonly #endpoints: LocalEndpoints;
  readonly #turns = new Map<string, number>();
  readonly #connecting = new Map<number, (error: string | undefined) => void>();
  #multipath: Multipath | undefined;
  #clients: ClientSource | undefined;
  #started = false;

  constructor(private readonly options: ConnectorOptions) {
    this.#endpoints = new LocalEndpoints(options.random);
  }

  get multipath(): boolean {
    return this.#multipath !== undefined;
  }

  async start(): Promise<void> {
    if (this.#started) return;
    this.#multipath = await this.#openMultipath();
    this.options.native.start((batch) => {
      for (const { descriptor, error } of batch) {
        const settle = this.#connecting.get(descriptor);
        this.#connecting.delete(descriptor);
        settle?.(error);
      }
    });
    this.#started = true;
  }

  /** undefined: without the module everything goes by plain TCP. */
  async #openMultipath(): Promise<Multipath | undefined> {
    const { mptcp, descriptors, warn } = this.options;
    if (!mptcp) return undefined;
    try {
      const nextPort = (address: string): number => this.#endpoints.nextPort(address);
      const multipath = new Multipath(
        { native: mptcp.native, descriptors, clock: mptcp.clock, nextPort },
        await mptcp.open(),
      );
      if (multipath.control.state().enabled) return multipath;
      multipath.close();
      warn?.('net.inet.mptcp.enabled is 0: connections are plain TCP, over the best path only');
    } catch (error) {
      warn?.(`connections are plain TCP, over the best path only: ${(error as Error).message}`);
    }
    return undefined;
  }

  async connect(options: ConnectOptions): Promise<MptcpConnection> {
    if (!this.#started) throw new PlatformError('the connector has not been started', 'EINVAL');
    const multipath = options.multipath ? this.#multipath : undefined;
    return multipath ? multipath.during(() => this.#connect(options, multipath)) : this.#connect(options);
  }

  async #connect(options: ConnectOptions, multipath?: Multipath): Promise<MptcpConnection> {
    const { native, descriptors } = this.options;
    const { source } = options;
    const localAddress = 'prefix' in source ? this.#nextAddress(source.prefix) : source.address;
    const clients = 'prefix' in source ? undefined : this.#clientSource();
    for (let attempt = 0; ; attempt++) {
      let descriptor: number | undefined;
      let registered: Flow | undefined;
      try {
        const wanted = 'prefix' in source || attempt > 0 ? undefined : source.port;
        const socket = await clients?.socket(localAddress, multipath !== undefined);
        const prepared = native.prepare({
          address: options.remote.address,
          transparent: clients !== undefined,
          ...(multipath ? { mptcp: true } : {}),
          ...(socket === undefined ? {} : { descriptor: socket }),
          localAddress,
          localPort: wanted ?? this.#endpoints.nextPort(localAddress),
          ...(options.viaLisp ? { fib: LISP_FIB } : {}),
          ...(options.congestionControl === undefined
            ? {}
            : { congestionControl: options.congestionControl }),
        });
        descriptor = prepared.descriptor;
        const flow: Flow = {
          local: { address: prepared.localAddress, port: prepared.localPort },
          remote: { ...options.remote },
        };
        options.beforeSyn(flow);
        if (clients) {
          clients.register(flow);
          registered = flow;
        }
        const outcome = new Promise<string | undefined>((resolve) =>
          this.#connecting.set(prepared.descriptor, resolve),
        );
        try {
          native.connect(descriptor, options.remote.address, options.remote.port, options.timeoutMs);
        } catch (error) {
          this.#connecting.delete(descriptor);
          throw error;
        }
        const error = await outcome;
        if (error !== undefined)
          throw new PlatformError(`connect to ${show(options.remote)}: ${error}`, error);
        return (
          multipath?.connection(descriptor, flow, clients) ??
          new FreeBsdConnection(descriptor, flow, native, descriptors)
        );
      } catch (error) {
        if (descriptor !== undefined) descriptors.close(descriptor);
        if (registered !== undefined) clients?.forget(registered);
        // Taken, or the 4-tuple is still in TIME_WAIT: another port will do.
        if (codeOf(error) === 'EADDRINUSE' && attempt < ATTEMPTS) continue;
        throw error instanceof PlatformError
          ? error
          : new PlatformError(
              `connect to ${show(options.remote)}: ${(error as Error).message}`,
              codeOf(error),
              {
                cause: error,
              },
            );
      }
    }
  }

  #clientSource(): ClientSource {
    const { host, interception: native, descriptors, warn } = this.options;
    return (this.#clients ??= new ClientSource({
      host,
      native,
      close: (descriptor) => descriptors.close(descriptor),
      ...(warn && { warn }),
    }));
  }

  #nextAddress(prefix: string): string {
    const addresses = localAddresses(prefix);
    const turn = (this.#turns.get(prefix) ?? 0) % addresses.length;
    this.#turns.set(prefix, turn + 1);
    return addresses[turn]!;
  }

  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    this.#multipath?.close();
    this.#multipath = undefined;
    this.options.native.stop();
    this.#clients?.close();
    this.#clients = undefined;
    // Connects under way were reported as cancelled; the reports arrive with the next turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

class FreeBsdConnection implements MptcpConnection {
  readonly protocol = 'tcp';
  #abandoned = false;

  constructor(
    readonly socket: SocketHandle,
    readonly flow: Flow,
    private readonly native: NativeConnector,
    private readonly descriptors: NativeDescriptors,
  ) {}

  subflows(): SubflowInfo[] {
    const [info] = this.#abandoned ? [] : (this.native.subflows(this.socket) ?? []);
    // The relay may have closed the descriptor, and somebody else got the number.
    if (info?.localPort !== this.flow.local.port || info.remotePort !== this.flow.remote.port) return [];
    return [
      {
        id: 0,
        flow: this.flow,
        state: 'established',
        backup: false,
        retransmits: info.retransmits,
        rttMs: info.rttMs,
        congestionWindow: info.congestionWindow,
      },
    ];
  }

  async addSubflow(): Promise<Subflow> {
    throw new PlatformError('plain TCP has one subflow', 'EOPNOTSUPP');
  }

  async removeSubflow(): Promise<void> {
    throw new PlatformError('plain TCP has one subflow', 'EOPNOTSUPP');
  }

  async setBackup(): Promise<void> {
    throw new PlatformError('plain TCP has one subflow', 'EOPNOTSUPP');
  }

  /** Nothing ever happens to the only subflow but its end, which the relay sees. */
  onEvent(): void {}

  abandon(): void {
    if (!this.#abandoned) this.descriptors.reset(this.socket);
    this.#abandoned = true;
  }

  dispose(): void {
    this.#abandoned = true;
  }
}
