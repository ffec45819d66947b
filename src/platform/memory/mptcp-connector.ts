// SPDX-License-Identifier: BSD-2-Clause

/** MPTCP connections of the gateway on the simulated network. */
import {
  PlatformError,
  type ConnectOptions,
  type Flow,
  type MptcpConnection,
  type MptcpConnector,
  type MptcpEvent,
  type SocketHandle,
  type Subflow,
  type SubflowInfo,
  type SubflowRequest,
} from '../platform.js';
import { describe, type Output, type SimulatedConnection, type SimulatedHost } from './host.js';
import type { Descriptors } from './stream.js';

const JOIN_TIMEOUT_MS = 30_000;

export interface Ways {
  /** Into the LISP device. */
  lisp: Output;
  /** By the host's ordinary routes. @throws PlatformError ENETUNREACH */
  native: Output;
}

export class MemoryConnector implements MptcpConnector {
  constructor(
    private readonly host: SimulatedHost,
    private readonly descriptors: Descriptors,
    private readonly ways: Ways,
    readonly multipath = true,
  ) {}

  start(): Promise<void> {
    return Promise.resolve();
  }
  stop(): Promise<void> {
    return Promise.resolve();
  }

  async connect(options: ConnectOptions): Promise<MptcpConnection> {
    const flow: Flow = { local: this.host.choose(options.source, options.remote), remote: options.remote };
    options.beforeSyn(flow);
    const output = options.viaLisp ? this.ways.lisp : this.ways.native;
    const connection = await this.host.connect(flow, output, {
      mptcp: options.multipath && this.multipath,
      timeoutMs: options.timeoutMs,
    });
    return new MemoryConnection(this.host, this.descriptors, connection, flow, output);
  }
}

class MemoryConnection implements MptcpConnection {
  readonly socket: SocketHandle;
  private readonly early: MptcpEvent[] = [];
  private listener: ((event: MptcpEvent) => void) | undefined;

  constructor(
    private readonly host: SimulatedHost,
    private readonly descriptors: Descriptors,
    private readonly connection: SimulatedConnection,
    readonly flow: Flow,
    private readonly output: Output,
  ) {
    this.socket = descriptors.open(connection);
    connection.pause();
    connection.onMptcp = (event) => {
      if (this.listener === undefined) this.early.push(event);
      else this.listener(event);
    };
  }

  get protocol(): 'mptcp' | 'tcp' {
    return this.connection.multipath ? 'mptcp' : 'tcp';
  }
  get token(): number | undefined {
    return this.connection.multipath ? this.connection.token : undefined;
  }

  subflows(): SubflowInfo[] {
    return [...this.connection.subflows.values()].map((subflow) => ({
      ...describe(subflow),
      bytesSent: subflow.bytesSent,
      bytesReceived: subflow.bytesReceived,
      retransmits: subflow.retransmits,
    }));
  }

  addSubflow(request: SubflowRequest): Promise<Subflow> {
    try {
      const flow: Flow = {
        local: this.host.choose({ address: request.localAddress }, request.remote),
        remote: request.remote,
      };
      request.beforeSyn(flow);
      return Promise.resolve(
        describe(this.connection.join(flow, this.output, request.backup ?? false, JOIN_TIMEOUT_MS)),
      );
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new PlatformError(String(error), 'EIO'));
    }
  }
  removeSubflow(id: number): Promise<void> {
    try {
      this.connection.removeSubflow(id);
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new PlatformError(String(error), 'EIO'));
    }
  }
  setBackup(id: number, backup: boolean): Promise<void> {
    const subflow = this.connection.subflows.get(id);
    if (subflow === undefined) return Promise.reject(new PlatformError(`no subflow ${id}`, 'ENOENT'));
    subflow.backup = backup;
    return Promise.resolve();
  }
  write(octets: Uint8Array): void {
    this.connection.write(octets);
  }
  onEvent(listener: (event: MptcpEvent) => void): void {
    this.listener = listener;
    for (const event of this.early.splice(0)) listener(event);
  }
  abandon(): void {
    this.connection.reset();
    this.descriptors.close(this.socket);
  }
  dispose(): void {
    this.listener = () => undefined;
  }
}
