// SPDX-License-Identifier: BSD-2-Clause

/**
 * A simulated host's TCP and MPTCP: enough of both that connections over several subflows behave as they should. Data is cut
 * into segments, each goes out on a subflow with room in its window, the other side puts them in order by data sequence
 * number and acknowledges each. What a removed subflow had not got through goes out again on the others; what a cut path
 * swallowed is sent again after a time-out that doubles.
 *
 *   write -> queue -> scheduler -> subflow window -> output(packet) ... input(packet) -> reassembly -> data event
 */
import { addressFromBytes, parsePrefix } from '../../lisp/prefix.js';
import { PlatformError, type Clock, type Endpoint, type Flow, type MptcpEvent } from '../platform.js';
import { decodeSegment, encodeSegment, type Segment } from './segment.js';
import type { Stream, StreamEvents } from './stream.js';

export interface HostOptions {
  /** Payload of one segment at most, octets. */
  segmentBytes: number;
  /** In flight on one subflow at most, octets. */
  windowBytes: number;
  /** First retransmission time-out. */
  rtoMs: number;
  synRetryMs: number;
}

const DEFAULTS: HostOptions = {
  segmentBytes: 1360,
  windowBytes: 256 * 1024,
  rtoMs: 1000,
  synRetryMs: 1000,
};

const SEND_BUFFER = 1024 * 1024;
const MAX_RTO_MS = 60_000;
const NOTHING = new Uint8Array(0);

export interface ListenOptions {
  mptcp: boolean;
  /** Subflows beyond the first that are taken; Linux takes two unless told otherwise. */
  extraSubflows?: number;
  accept(stream: SimulatedConnection): void;
}

export type Output = (packet: Uint8Array) => void;

const key = (flow: Flow): string =>
  `${flow.local.address} ${flow.local.port} ${flow.remote.address} ${flow.remote.port}`;
const reverse = ({ local, remote }: Flow): Flow => ({ local: remote, remote: local });

export class SimulatedHost {
  readonly options: HostOptions;
  private readonly listeners = new Map<string, ListenOptions>();
  private readonly subflows = new Map<string, SimulatedSubflow>();
  private readonly tokens = new Map<number, SimulatedConnection>();
  private nextToken = 0x1000;
  private nextPort = 32_768;

  constructor(
    readonly clock: Clock,
    options: Partial<HostOptions> = {},
  ) {
    this.options = { ...DEFAULTS, ...options };
  }

  listen({ address, port }: Endpoint, options: ListenOptions): () => void {
    const name = `${address} ${port}`;
    this.listeners.set(name, options);
    return () => this.listeners.delete(name);
  }

  get connections(): number {
    return this.tokens.size;
  }

  /** A free local address and port for `remote`. */
  choose(source: { prefix: string } | { address: string; port?: number }, remote: Endpoint): Endpoint {
    const address = 'prefix' in source ? someAddress(source.prefix, this.nextPort) : source.address;
    for (let tries = 0; tries < 28_232; tries++) {
      const port = 'port' in source && source.port !== undefined ? source.port : this.nextPort++;
      if (this.nextPort > 60_999) this.nextPort = 32_768;
      if (!this.subflows.has(key({ local: { address, port }, remote }))) return { address, port };
      if ('port' in source && source.port !== undefined) break;
    }
    throw new PlatformError('no free port', 'EADDRINUSE');
  }

  /** @throws PlatformError ETIMEDOUT, ECONNREFUSED, and what output throws */
  connect(
    flow: Flow,
    output: Output,
    options: { mptcp: boolean; timeoutMs: number },
  ): Promise<SimulatedConnection> {
    const connection = new SimulatedConnection(this, 'client');
    return new Promise((resolve, reject) => {
      const subflow = connection.attach(0, flow, output, false);
      subflow.onEstablished = () => resolve(connection);
      subflow.onFailed = (code) => {
        connection.forget();
        reject(new PlatformError(`connecting to ${flow.remote.address}:${flow.remote.port}: ${code}`, code));
      };
      subflow.connect({ capable: options.mptcp, join: false, token: 0 }, options.timeoutMs);
    });
  }

  /** A packet for one of this host's addresses; `reply` is the way back. */
  input(packet: Uint8Array, reply: Output): void {
    const segment = decodeSegment(packet);
    if (segment === undefined) return;
    const flow = reverse(segment.flow);
    const subflow = this.subflows.get(key(flow));
    if (subflow !== undefined) return subflow.receive(segment);
    if (segment.kind === 'syn') return this.passive(flow, segment, reply);
    if (segment.kind !== 'reset' && segment.kind !== 'reset-subflow') {
      reply(encodeSegment({ ...blank(flow), kind: 'reset-subflow' }));
    }
  }

  private passive(flow: Flow, syn: Segment, reply: Output): void {
    if (syn.join) {
      const connection = this.tokens.get(syn.token);
      if (connection === undefined) return reply(encodeSegment({ ...blank(flow), kind: 'reset-subflow' }));
      connection.joined(flow, syn, reply);
      return;
    }
    const listener =
      this.listeners.get(`${flow.local.address} ${flow.local.port}`) ??
      this.listeners.get(`* ${flow.local.port}`);
    if (listener === undefined) return reply(encodeSegment({ ...blank(flow), kind: 'reset' }));
    const connection = new SimulatedConnection(this, 'server');
    connection.multipath = syn.capable && listener.mptcp;
    connection.extraSubflows = listener.extraSubflows ?? 2;
    this.register(connection);
    connection.attach(0, flow, reply, false).accept();
    listener.accept(connection);
  }

  register(connection: SimulatedConnection): void {
    connection.token = this.nextToken++;
    this.tokens.set(connection.token, connection);
  }
  add(subflow: SimulatedSubflow): void {
    this.subflows.set(key(subflow.flow), subflow);
  }
  remove(subflow: SimulatedSubflow): void {
    if (this.subflows.get(key(subflow.flow)) === subflow) this.subflows.delete(key(subflow.flow));
  }
  forget(connection: SimulatedConnection): void {
    if (this.tokens.get(connection.token) === connection) this.tokens.delete(connection.token);
  }
}

interface Chunk {
  dsn: number;
  payload: Uint8Array;
  fin: boolean;
}

const blank = (flow: Flow): Segment => ({
  flow,
  kind: 'ack',
  capable: false,
  join: false,
  backup: false,
  fin: false,
  token: 0,
  dsn: 0,
  payload: NOTHING,
});

export class SimulatedSubflow {
  state: 'joining' | 'established' | 'closed' = 'joining';
  bytesSent = 0;
  bytesReceived = 0;
  retransmits = 0;
  /** Something has come in on it since its handshake. */
  proven = false;
  readonly inFlight = new Map<number, Chunk>();
  inFlightBytes = 0;
  onEstablished: () => void = () => undefined;
  onFailed: (code: string) => void = () => undefined;
  private timer: unknown;
  private rto: number;
  private failure: unknown;
  private syn: Pick<Segment, 'capable' | 'join' | 'token'> | undefined;

  constructor(
    readonly connection: SimulatedConnection,
    readonly id: number,
    readonly flow: Flow,
    private readonly output: Output,
    public backup: boolean,
  ) {
    this.rto = connection.host.options.rtoMs;
    connection.host.add(this);
  }

  private get clock(): Clock {
    return this.connection.host.clock;
  }
  send(fields: Partial<Segment>): void {
    this.output(encodeSegment({ ...blank(this.flow), ...fields }));
  }

  connect(syn: Pick<Segment, 'capable' | 'join' | 'token'>, timeoutMs: number): void {
    this.syn = syn;
    let wait = this.connection.host.options.synRetryMs;
    const attempt = (): void => {
      if (this.state !== 'joining') return;
      try {
        this.send({ kind: 'syn', backup: this.backup, ...syn });
      } catch (error) {
        return this.fail(error instanceof PlatformError ? error.code : 'EIO');
      }
      this.timer = this.clock.setTimeout(attempt, wait);
      wait *= 2;
    };
    this.failure = this.clock.setTimeout(() => this.fail('ETIMEDOUT'), timeoutMs);
    attempt();
  }

  accept(): void {
    this.state = 'established';
    this.answerSyn();
  }
  private answerSyn(): void {
    this.send({ kind: 'syn-ack', capable: this.connection.multipath, token: this.connection.token });
  }

  private fail(code: string): void {
    if (this.state === 'closed') return;
    const before = this.state;
    this.close();
    if (before === 'joining') this.onFailed(code);
    this.connection.lost(this, code);
  }

  close(): void {
    this.state = 'closed';
    this.clock.clearTimeout(this.timer);
    this.clock.clearTimeout(this.failure);
    this.connection.host.remove(this);
  }

  receive(segment: Segment): void {
    switch (segment.kind) {
      case 'syn':
        // Ours got lost on the way.
        if (this.syn === undefined) this.answerSyn();
        return;
      case 'syn-ack':
        if (this.state !== 'joining') return;
        this.state = 'established';
        this.clock.clearTimeout(this.timer);
        this.clock.clearTimeout(this.failure);
        if (this.id === 0) {
          this.connection.multipath = segment.capable && this.syn!.capable;
          this.connection.token = segment.token;
        }
        this.onEstablished();
        this.connection.established(this);
        return;
      case 'data':
        this.send({ kind: 'ack', dsn: segment.dsn, fin: segment.fin });
        this.bytesReceived += segment.payload.length;
        this.proven = true;
        this.connection.arrived(segment.dsn, segment.payload, segment.fin);
        return;
      case 'ack':
        return this.acknowledged(segment.dsn, segment.fin);
      case 'remove':
        return this.connection.peerRemoved(segment.dsn);
      case 'reset-subflow':
        return this.fail(this.state === 'joining' && this.id === 0 ? 'ECONNREFUSED' : 'ECONNRESET');
      case 'reset':
        if (this.state === 'joining') return this.fail('ECONNREFUSED');
        return this.connection.aborted('ECONNRESET');
    }
  }

  get room(): number {
    return this.state === 'established' ? this.connection.host.options.windowBytes - this.inFlightBytes : 0;
  }

  transmit(chunk: Chunk): void {
    this.inFlight.set(chunk.dsn * 2 + (chunk.fin ? 1 : 0), chunk);
    this.inFlightBytes += chunk.payload.length;
    this.bytesSent += chunk.payload.length;
    this.send({ kind: 'data', dsn: chunk.dsn, fin: chunk.fin, payload: chunk.payload });
    if (this.inFlight.size === 1) this.arm();
  }

  private acknowledged(dsn: number, fin: boolean): void {
    const id = dsn * 2 + (fin ? 1 : 0);
    const chunk = this.inFlight.get(id);
    if (chunk === undefined) return;
    this.proven = true;
    this.inFlight.delete(id);
    this.inFlightBytes -= chunk.payload.length;
    this.rto = this.connection.host.options.rtoMs;
    this.arm();
    this.connection.acknowledged(chunk);
  }

  /** The time-out of the oldest thing in flight; doubles while nothing is acknowledged. */
  private arm(): void {
    this.clock.clearTimeout(this.timer);
    if (this.inFlight.size === 0 || this.state !== 'established') return;
    this.timer = this.clock.setTimeout(() => {
      let budget = 16;
      for (const chunk of this.inFlight.values()) {
        if (budget-- === 0) break;
        this.retransmits++;
        this.send({ kind: 'data', dsn: chunk.dsn, fin: chunk.fin, payload: chunk.payload });
      }
      this.rto = Math.min(MAX_RTO_MS, this.rto * 2);
      this.arm();
    }, this.rto);
  }
}

export class SimulatedConnection implements Stream {
  events: StreamEvents = {};
  token = 0;
  multipath = false;
  extraSubflows = 2;
  onMptcp: (event: MptcpEvent) => void = () => undefined;
  readonly subflows = new Map<number, SimulatedSubflow>();
  private nextId = 1;
  private readonly queue: Chunk[] = [];
  private queued = 0;
  private nextDsn = 0;
  private full = false;
  private finSent = false;
  private finAcknowledged = false;
  private expected = 0;
  private readonly early = new Map<number, { payload: Uint8Array; fin: boolean }>();
  private readonly readable: Uint8Array[] = [];
  private peerEnded = false;
  private endSeen = false;
  private paused = false;
  private over = false;
  private fullyEstablished = false;

  constructor(
    readonly host: SimulatedHost,
    private readonly role: 'client' | 'server',
  ) {}

  get first(): SimulatedSubflow {
    return this.subflows.get(0) ?? [...this.subflows.values()][0]!;
  }

  attach(id: number, flow: Flow, output: Output, backup: boolean): SimulatedSubflow {
    const subflow = new SimulatedSubflow(this, id, flow, output, backup);
    this.subflows.set(id, subflow);
    return subflow;
  }

  // ------------------------------------------------------------ Stream

  write(data: Uint8Array): boolean {
    if (this.over || this.finSent) return true;
    const { segmentBytes } = this.host.options;
    for (let at = 0; at < data.length; at += segmentBytes) {
      const payload = data.subarray(at, at + segmentBytes);
      this.queue.push({ dsn: this.nextDsn, payload, fin: false });
      this.nextDsn += payload.length;
      this.queued += payload.length;
    }
    this.pump();
    this.full = this.queued >= SEND_BUFFER;
    return !this.full;
  }
  end(): void {
    if (this.over || this.finSent) return;
    this.finSent = true;
    this.queue.push({ dsn: this.nextDsn, payload: NOTHING, fin: true });
    this.pump();
  }
  reset(): void {
    if (this.over) return;
    for (const subflow of this.subflows.values()) {
      if (subflow.state === 'established') subflow.send({ kind: 'reset' });
    }
    this.forget();
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
    this.deliver();
  }

  // ------------------------------------------------------------ sending

  private pump(): void {
    while (this.queue.length > 0) {
      let best: SimulatedSubflow | undefined;
      const usable = [...this.subflows.values()].filter(({ state }) => state === 'established');
      const regular = usable.filter(({ backup }) => !backup);
      for (const subflow of regular.length > 0 ? regular : usable) {
        if (subflow.room > 0 && (best === undefined || subflow.inFlightBytes < best.inFlightBytes))
          best = subflow;
      }
      if (best === undefined) return;
      const chunk = this.queue.shift()!;
      this.queued -= chunk.payload.length;
      best.transmit(chunk);
    }
    if (this.full && this.queued < SEND_BUFFER / 2) {
      this.full = false;
      this.events.drain?.();
    }
  }

  acknowledged(chunk: Chunk): void {
    if (chunk.fin) this.finAcknowledged = true;
    this.established(undefined);
    this.pump();
    if (this.full && this.queued < SEND_BUFFER / 2) {
      this.full = false;
      this.events.drain?.();
    }
    this.maybeOver();
  }

  // ------------------------------------------------------------ receiving

  arrived(dsn: number, payload: Uint8Array, fin: boolean): void {
    if (this.over) return;
    this.established(undefined);
    if (fin ? this.peerEnded : dsn < this.expected) return;
    if (dsn > this.expected) {
      this.early.set(dsn * 2 + (fin ? 1 : 0), { payload, fin });
      return;
    }
    this.take(payload, fin);
    for (;;) {
      const next = this.early.get(this.expected * 2) ?? this.early.get(this.expected * 2 + 1);
      if (next === undefined) break;
      this.early.delete(this.expected * 2 + (next.fin ? 1 : 0));
      this.take(next.payload, next.fin);
    }
    this.deliver();
  }
  private take(payload: Uint8Array, fin: boolean): void {
    if (fin) this.peerEnded = true;
    else {
      this.expected += payload.length;
      this.readable.push(payload);
    }
  }
  private deliver(): void {
    while (!this.paused && !this.over) {
      const chunk = this.readable.shift();
      if (chunk === undefined) break;
      this.events.data?.(chunk);
    }
    if (!this.paused && this.readable.length === 0 && this.peerEnded && !this.endSeen && !this.over) {
      this.endSeen = true;
      this.events.end?.();
    }
    this.maybeOver();
  }

  // ------------------------------------------------------------ subflows

  /** Data has passed either way, or (given) a subflow is up. */
  established(subflow: SimulatedSubflow | undefined): void {
    if (subflow !== undefined && subflow.id !== 0) {
      this.onMptcp({ type: 'subflow-established', subflow: describe(subflow) });
      this.pump();
    } else if (subflow === undefined && !this.fullyEstablished) {
      this.fullyEstablished = true;
      if (this.role === 'client') this.onMptcp({ type: this.multipath ? 'established' : 'fallback' });
    } else this.pump();
  }

  /** @throws PlatformError */
  join(flow: Flow, output: Output, backup: boolean, timeoutMs: number): SimulatedSubflow {
    if (!this.fullyEstablished) throw new PlatformError('the connection is not fully established', 'EAGAIN');
    const subflow = this.attach(this.nextId++, flow, output, backup);
    subflow.connect({ capable: false, join: true, token: this.token }, timeoutMs);
    return subflow;
  }

  /** Server: MP_JOIN. Beyond the limit it is answered and closed at once. */
  joined(flow: Flow, syn: Segment, output: Output): void {
    const extra = [...this.subflows.values()].filter(({ id }) => id !== 0).length;
    const subflow = this.attach(this.nextId++, flow, output, syn.backup);
    subflow.accept();
    if (extra >= this.extraSubflows) {
      subflow.send({ kind: 'reset-subflow' });
      subflow.close();
      this.subflows.delete(subflow.id);
    }
  }

  removeSubflow(id: number): void {
    const subflow = this.subflows.get(id);
    if (subflow === undefined) throw new PlatformError(`no subflow ${id}`, 'ENOENT');
    const wasJoining = subflow.state === 'joining';
    subflow.close();
    this.reinject(subflow);
    if (wasJoining) return;
    for (const other of this.subflows.values()) {
      if (other.state === 'established') other.send({ kind: 'remove', dsn: subflow.flow.local.port });
    }
  }

  peerRemoved(port: number): void {
    for (const subflow of [...this.subflows.values()]) {
      if (subflow.flow.remote.port !== port) continue;
      subflow.close();
      this.reinject(subflow);
    }
  }

  private reinject(subflow: SimulatedSubflow): void {
    this.subflows.delete(subflow.id);
    const chunks = [...subflow.inFlight.values()].sort((a, b) => a.dsn - b.dsn);
    this.queue.unshift(...chunks);
    this.queued += subflow.inFlightBytes;
    subflow.inFlight.clear();
    this.pump();
  }

  lost(subflow: SimulatedSubflow, code: string): void {
    if (!this.subflows.has(subflow.id)) return;
    this.reinject(subflow);
    if (subflow.id !== 0 || this.subflows.size > 0) {
      this.onMptcp({
        type: 'subflow-closed',
        subflow: describe(subflow),
        code,
        refused: code === 'ECONNRESET' && !subflow.proven,
      });
    }
    if (this.subflows.size === 0 && !this.over && subflow.onFailed !== undefined && this.wasUp(subflow)) {
      this.aborted(code);
    }
  }
  private wasUp(subflow: SimulatedSubflow): boolean {
    return this.fullyEstablished || subflow.bytesReceived > 0;
  }

  aborted(code: string): void {
    if (this.over) return;
    this.forget();
    this.onMptcp({ type: 'closed' });
    this.events.close?.(code);
  }

  private maybeOver(): void {
    if (this.over || !this.endSeen || !this.finAcknowledged) return;
    this.over = true;
    // The last acknowledgement may have got lost: stay for a while, as TIME_WAIT does.
    this.host.clock.setTimeout(() => this.forget(), 2 * this.host.options.rtoMs);
    this.onMptcp({ type: 'closed' });
    this.events.close?.();
  }

  forget(): void {
    this.over = true;
    for (const subflow of this.subflows.values()) subflow.close();
    this.subflows.clear();
    this.queue.length = 0;
    this.host.forget(this);
  }
}

export const describe = ({ id, flow, state, backup }: SimulatedSubflow) => ({ id, flow, state, backup });

/** Addresses of a prefix in turn; network and broadcast address are left out where there is room. */
function someAddress(prefix: string, turn: number): string {
  const { bytes, length } = parsePrefix(prefix);
  const bits = bytes.length * 8 - length;
  const size = 2 ** Math.min(bits, 16);
  const offset = size > 2 ? 1 + (turn % (size - 2)) : turn % size;
  const copy = Uint8Array.from(bytes);
  let carry = offset;
  for (let at = copy.length - 1; at >= 0 && carry > 0; at--) {
    carry += copy[at]!;
    copy[at] = carry & 0xff;
    carry >>= 8;
  }
  return addressFromBytes(copy);
}
