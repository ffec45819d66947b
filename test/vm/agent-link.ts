// SPDX-License-Identifier: BSD-2-Clause

/**
 * The native object of a daemon whose kernel is elsewhere: every call goes over a socket to guest/programs/agent.c, which makes
 * it on the C library the addon binds. Calls are synchronous, as the addon's are; events are delivered by the event loop.
 */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import type { Native } from '../../src/native/index.js';
import type {
  CapturedSyn,
  CaptureRule,
  DivertedSyn,
  NativeConnector,
  NativeInterception,
} from '../../src/native/freebsd/interception.types.js';
import type { NativeLispControl, NativeLispPart } from '../../src/native/freebsd/lisp.types.js';
import type {
  NativeMptcpControl,
  NativeMptcpEvent,
  NativeMptcpPart,
} from '../../src/native/freebsd/mptcp.types.js';
import type {
  AcceptedSocket,
  NativeDescriptors,
  NativeListener,
  NativeRelay,
  NativeRelayReport,
} from '../../src/native/linux/sockets.types.js';
import type { Run } from '../../src/platform/freebsd/lisp-device.js';
import { type Endpoint, PlatformError, type PlaneEvent } from '../../src/platform/platform.js';

const CALL_MS = 60_000;

type Word = string | number | boolean | undefined;
interface Message {
  id?: number;
  result?: unknown;
  error?: string;
  message?: string;
  event?: string;
  connected?: boolean;
  gone?: string;
}

/** What would end a word or a line. */
const escape = (word: Word): string =>
  String(word === true ? 1 : word === false ? 0 : (word ?? '')).replace(
    // eslint-disable-next-line no-control-regex -- these are what has to be hidden
    /[%\u0000-\u001f]/g,
    (octet) => `%${octet.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );

export class AgentLink {
  readonly #worker: Worker;
  readonly #counter = new Int32Array(new SharedArrayBuffer(4));
  readonly #handlers = new Map<string, (message: never) => void>();
  readonly #port: MessagePort;
  #next = 1;
  /** Came while a call waited for its answer. */
  #queued: Message[] = [];
  #gone: string | undefined;
  /** Every call, for the report of a failure. */
  readonly trace: string[] = [];

  private constructor(host: string, port: number) {
    // What a call waits for is taken from this port; what nobody waits for comes as an event.
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#worker = new Worker(new URL('./agent-worker.js', import.meta.url), {
      workerData: { host, port, posted: this.#counter.buffer, answers: port2 },
      transferList: [port2],
    });
  }

  static async open(host: string, port: number): Promise<AgentLink> {
    const link = new AgentLink(host, port);
    await new Promise<void>((resolve, reject) => {
      link.#port.once('message', (message: Message) =>
        message.connected ? resolve() : reject(new Error(message.gone)),
      );
      link.#worker.once('error', reject);
    });
    return link.#listen();
  }

  /** The same where nobody can wait: a module that is required. */
  static openSync(host: string, port: number): AgentLink {
    const link = new AgentLink(host, port);
    const { gone } = link.#take();
    if (gone !== undefined) throw new PlatformError(`the agent at ${host}:${port}: ${gone}`, 'EPIPE');
    return link.#listen();
  }

  #listen(): AgentLink {
    this.#port.on('message', (message: Message) => this.#deliver(message));
    this.#port.unref();
    this.#worker.unref();
    return this;
  }

  /** Stands still until something comes. */
  #take(deadline = Date.now() + CALL_MS): Message {
    for (;;) {
      const before = Atomics.load(this.#counter, 0);
      const received = receiveMessageOnPort(this.#port) as { message: Message } | undefined;
      if (received) return received.message;
      if (Date.now() > deadline) return { gone: 'no answer in time' };
      Atomics.wait(this.#counter, 0, before, 1000);
    }
  }

  on<T>(event: string, handler: (message: T) => void): void {
    this.#handlers.set(event, handler as (message: never) => void);
  }

  #deliver(message: Message): void {
    if (message.gone !== undefined) {
      this.#gone ??= message.gone;
      return;
    }
    if (message.event === undefined) return;
    this.#handlers.get(message.event)?.(message as never);
  }

  call(name: string, ...words: Word[]): unknown {
    if (this.#gone !== undefined) throw new PlatformError(`the agent is gone: ${this.#gone}`, 'EPIPE');
    const id = this.#next++;
    this.trace.push([name, ...words].join(' ').slice(0, 200));
    if (this.trace.length > 60) this.trace.shift();
    this.#worker.postMessage([id, name, ...words.map(escape)].join('\t') + '\n');
    const deadline = Date.now() + CALL_MS;
    for (;;) {
      const message = this.#take(deadline);
      if (message.gone !== undefined) {
        this.#gone = message.gone;
        throw new PlatformError(`the agent is gone, ${name}: ${this.#gone}`, 'EPIPE');
      }
      if (message.id === id) {
        if (message.error !== undefined)
          throw Object.assign(new Error(message.message), { code: message.error });
        return message.result ?? undefined;
      }
      if (this.#queued.length === 0)
        setImmediate(() => this.#queued.splice(0).forEach((each) => this.#deliver(each)));
      this.#queued.push(message);
    }
  }

  /** As a kill would: the other end sees nothing but the end of the connection. */
  async close(): Promise<void> {
    // Whoever still calls, as a killed daemon's timers do, is told at once.
    this.#gone ??= 'closed';
    this.#port.close();
    await this.#worker.terminate();
  }
}

const ends = ({ address, port }: Endpoint): [string, number] => [address, port];

/** The parts that a FreeBSD platform is put together from. */
export function remoteNative(link: AgentLink): { native: Native; run: Run } {
  let diverted: DivertedSyn[] = [];
  let captured: CapturedSyn[] = [];
  let planeEvents: PlaneEvent[] = [];
  let wakeDivert = (): void => undefined;
  let wakeTproxy = (): void => undefined;
  let wakeLisp: (() => void) | undefined;
  link.on<DivertedSyn & { packet: string }>(
    'diverted',
    ({ packet, client, destination, sequence, joins }) => {
      diverted.push({ packet: Buffer.from(packet, 'hex'), client, destination, sequence, joins });
      wakeDivert();
    },
  );
  link.on<CapturedSyn>('captured', ({ id, client, destination, joins }) => {
    captured.push({ id, client, destination, joins });
    wakeTproxy();
  });
  link.on<{ plane: PlaneEvent }>('plane', ({ plane }) => {
    planeEvents.push(plane);
    wakeLisp?.();
  });
  const hex = (packet: Uint8Array): string => Buffer.from(packet).toString('hex');

  const interception: NativeInterception = {
    Divert: class {
      constructor(descriptor: number, wake: () => void) {
        wakeDivert = wake;
        link.call('divert.watch', descriptor);
      }
      receive(): DivertedSyn[] {
        return diverted.splice(0);
      }
      inject(packet: Uint8Array): void {
        link.call('divert.inject', hex(packet));
      }
      refuse(packet: Uint8Array): void {
        link.call('divert.refuse', hex(packet));
      }
      unreachable(packet: Uint8Array, code: number): void {
        link.call('divert.unreachable', hex(packet), code);
      }
      close(): void {
        link.call('divert.close');
        diverted = [];
      }
    },
    Tproxy: class {
      constructor(
        private readonly descriptor: number,
        private readonly wake: () => void,
      ) {
        link.call('tproxy.watch', descriptor);
      }
      register(client: Endpoint, destination: Endpoint, listener: Endpoint): void {
        link.call(
          'tproxy.register',
          this.descriptor,
          ...ends(client),
          ...ends(destination),
          ...ends(listener),
        );
      }
      unregister(client: Endpoint, destination: Endpoint): boolean {
        return link.call(
          'tproxy.unregister',
          this.descriptor,
          ...ends(client),
          ...ends(destination),
        ) as boolean;
      }
      capture(rules: CaptureRule[], holdMs: number): void {
        wakeTproxy = this.wake;
        link.call(
          'tproxy.capture',
          this.descriptor,
          holdMs,
          ...rules.flatMap((rule) => [rule.prefix, rule.from, rule.to, rule.interface, rule.capture]),
        );
      }
      events(): CapturedSyn[] {
        return captured.splice(0);
      }
      release(id: number, action: string): boolean {
        return link.call('tproxy.release', this.descriptor, id, action) as boolean;
      }
      close(): void {
        link.call('tproxy.close', this.descriptor);
        if (wakeTproxy === this.wake) captured = [];
      }
    },
    openDivert: (port, buffer) => link.call('openDivert', port, buffer) as number,
    openDevice: (path) => link.call('openDevice', path) as number,
    flushAnchor: (descriptor, anchor) => void link.call('flushAnchor', descriptor, anchor),
  };

  let onAccepted: (batch: AcceptedSocket[]) => void = () => undefined;
  link.on<AcceptedSocket>('accepted', (accepted) => onAccepted([accepted]));
  const listener: NativeListener = {
    start(callback) {
      onAccepted = callback;
      link.call('listener.start');
    },
    add: (descriptor) => void link.call('listener.add', descriptor),
    remove: (descriptor) => void link.call('listener.remove', descriptor),
    counters: () => ({ accepted: 0, paused: 0, failed: 0 }),
    stop: () => void link.call('listener.stop'),
  };

  let onConnected: (batch: { descriptor: number; error?: string }[]) => void = () => undefined;
  link.on<{ descriptor: number; error?: string }>('connected', (connected) => onConnected([connected]));
  const connector: NativeConnector = {
    start(callback) {
      onConnected = callback;
      link.call('connector.start');
    },
    openTransparent: (family, mptcp) => link.call('connector.openTransparent', family, mptcp) as number,
    prepare: ({ address, localAddress, localPort, fib, congestionControl, mptcp, descriptor }) =>
      link.call(
        'connector.prepare',
        ...[address, localAddress, localPort, fib ?? 0, congestionControl, mptcp, descriptor ?? 0],
      ) as {
        descriptor: number;
        localAddress: string;
        localPort: number;
      },
    connect: (...words) => void link.call('connector.connect', ...words),
    cancel: (descriptor) => link.call('connector.cancel', descriptor) as boolean,
    subflows: (descriptor) =>
      link.call('connector.subflows', descriptor) as ReturnType<NativeConnector['subflows']>,
    stop: () => void link.call('connector.stop'),
    liveAddresses: () => link.call('connector.liveAddresses') as string[],
  };

  let onClosed: (batch: NativeRelayReport[]) => void = () => undefined;
  link.on<NativeRelayReport>('closed', (report) => onClosed([report]));
  const relay: NativeRelay = {
    start(threads, _up, _down, callback) {
      onClosed = callback;
      link.call('relay.start', threads);
    },
    run: (...words) => link.call('relay.run', ...words) as number,
    counters: (session) => link.call('relay.counters', session) as { up: number; down: number } | undefined,
    abort: (session, reason) => void link.call('relay.abort', session, reason),
    sessions: () => 0,
    stop: () => void link.call('relay.stop'),
  };

  const descriptors = {
    close: (descriptor) => void link.call('descriptors.close', descriptor),
    reset: (descriptor) => void link.call('descriptors.reset', descriptor),
    openListener: (address, port, mptcp, backlog) =>
      link.call('descriptors.openListener', address, port, backlog, mptcp) as number,
    localPort: (descriptor) => link.call('descriptors.localPort', descriptor) as number,
  } as Partial<NativeDescriptors> as NativeDescriptors;

  const pinWords = (flow: { local: Endpoint; remote: Endpoint }, iid: number): Word[] => [
    iid,
    ...ends(flow.local),
    ...ends(flow.remote),
  ];
  class Control implements NativeLispControl {
    constructor(descriptor: number | undefined, wake?: () => void) {
      wakeLisp = wake;
      link.call('lisp.watch', descriptor);
    }
    info = (): ReturnType<NativeLispControl['info']> =>
      link.call('lisp.info') as ReturnType<NativeLispControl['info']>;
    setIid = (iid: number): void => void link.call('lisp.setIid', iid);
    setRlocs = (rlocs: string[]): void => void link.call('lisp.setRlocs', ...rlocs);
    setEids = (iid: number, eids: string[]): void => void link.call('lisp.setEids', iid, ...eids);
    setMapping: NativeLispControl['setMapping'] = (iid, eid, action, locators) =>
      void link.call(
        'lisp.setMapping',
        ...[iid, eid, action],
        ...locators.flatMap(({ rloc, priority, weight, reachable }) => [rloc, priority, weight, reachable]),
      );
    deleteMapping = (iid: number, eid: string): boolean =>
      link.call('lisp.deleteMapping', iid, eid) as boolean;
    // The daemon's own list is what is shown.
    listMappings = (): [] => [];
    flushMappings = (): void => void link.call('lisp.flushMappings');
    setPathState: NativeLispControl['setPathState'] = ({ local, remote }, up) =>
      void link.call('lisp.setPathState', local, remote, up);
    pin: NativeLispControl['pin'] = (flow, path, iid) =>
      void link.call('lisp.pin', ...pinWords(flow, iid), path.local, path.remote);
    unpin: NativeLispControl['unpin'] = (flow, iid) =>
      link.call('lisp.unpin', ...pinWords(flow, iid)) as boolean;
    listPins = (): ReturnType<NativeLispControl['listPins']> =>
      link.call('lisp.listPins') as ReturnType<NativeLispControl['listPins']>;
    flushPins = (): void => void link.call('lisp.flushPins');
    paths = (): ReturnType<NativeLispControl['paths']> =>
      link.call('lisp.paths') as ReturnType<NativeLispControl['paths']>;
    stats = (node: string): Record<string, number> => link.call('lisp.stats', node) as Record<string, number>;
    setSwitch = (name: string, value: number): void => void link.call('lisp.setSwitch', name, value);
    events = (): PlaneEvent[] => planeEvents.splice(0);
    close(): void {
      link.call('lisp.close');
      planeEvents = [];
    }
  }
  const lisp: NativeLispPart = { Control };

  let mptcpEvents: NativeMptcpEvent[] = [];
  let wakeMptcp = (): void => undefined;
  link.on<{ mptcp: NativeMptcpEvent }>('mptcp', ({ mptcp }) => {
    mptcpEvents.push(mptcp);
    wakeMptcp();
  });
  class MptcpControl implements NativeMptcpControl {
    constructor(descriptor: number, wake: () => void) {
      wakeMptcp = wake;
      link.call('mptcp.watch', descriptor);
    }
    state = (): ReturnType<NativeMptcpControl['state']> =>
      link.call('mptcp.state') as ReturnType<NativeMptcpControl['state']>;
    connection = (token: number): ReturnType<NativeMptcpControl['connection']> =>
      link.call('mptcp.connection', token) as ReturnType<NativeMptcpControl['connection']>;
    addSubflow = (token: number, local: Endpoint, remote: Endpoint, backup: boolean): number =>
      link.call('mptcp.addSubflow', token, ...ends(local), ...ends(remote), backup) as number;
    removeSubflow = (token: number, id: number): boolean =>
      link.call('mptcp.removeSubflow', token, id) as boolean;
    setBackup = (token: number, id: number, backup: boolean): boolean =>
      link.call('mptcp.setBackup', token, id, backup) as boolean;
    events = (): NativeMptcpEvent[] => mptcpEvents.splice(0);
    close(): void {
      link.call('mptcp.close');
      mptcpEvents = [];
    }
  }
  const mptcpControl: NativeMptcpPart = {
    Control: MptcpControl,
    socket: (descriptor) => link.call('mptcp.socket', descriptor) as ReturnType<NativeMptcpPart['socket']>,
  };

  const run: Run = async (command, args, input) => {
    const { status, output } = link.call('run', input ?? '', command, ...args) as {
      status: number;
      output: string;
    };
    if (status !== 0)
      throw new PlatformError(`${command} ${args.join(' ')}: ${output.trim() || `exit ${status}`}`, 'EIO');
    return output;
  };
  return { native: { interception, listener, connector, relay, descriptors, lisp, mptcpControl }, run };
}
