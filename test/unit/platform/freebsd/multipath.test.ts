// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  NativeConnector,
  NativeInterception,
  NativeTproxy,
  TcpPreparation,
} from '../../../../src/native/freebsd/interception.types.js';
import type {
  NativeMptcpConnection,
  NativeMptcpControl,
  NativeMptcpEvent,
} from '../../../../src/native/freebsd/mptcp.types.js';
import type { NativeDescriptors } from '../../../../src/native/linux/sockets.types.js';
import { FreeBsdConnector } from '../../../../src/platform/freebsd/connector.js';
import type { FreeBsdHost } from '../../../../src/platform/freebsd/host.js';
import type { ConnectOptions, Flow, MptcpEvent } from '../../../../src/platform/platform.js';
import { ManualClock } from './manual-clock.js';

const REMOTE = { address: '198.18.2.10', port: 443 };
const OPTIONS: ConnectOptions = {
  source: { prefix: '192.0.2.8/30' },
  remote: REMOTE,
  multipath: true,
  viaLisp: true,
  timeoutMs: 3000,
  beforeSyn: () => undefined,
};
const TOKEN = 77;

/** A kernel whose connects succeed at once, with the events a test makes. */
class Kernel {
  readonly calls: string[] = [];
  readonly prepared: TcpPreparation[] = [];
  readonly warnings: string[] = [];
  readonly clock = new ManualClock();
  state: NativeMptcpConnection['state'] = 'established';
  token = TOKEN;
  enabled = true;
  refusals: string[] = [];
  events: Partial<NativeMptcpEvent>[] = [];
  subflows: NativeMptcpConnection['subflows'] = [];
  gone = false;
  /** Told while the connect is still under way. */
  during: Partial<NativeMptcpEvent>[] = [];
  #wake = (): void => undefined;
  #first: { address: string; port: number } | undefined;
  readonly connector: FreeBsdConnector;

  constructor(open: () => Promise<number> = async () => 5) {
    let connected: (batch: { descriptor: number; error?: string }[]) => void = () => undefined;
    const native: NativeConnector = {
      start: (callback) => (connected = callback),
      openTransparent: () => 0,
      liveAddresses: () => [],
      prepare: (preparation) => {
        this.prepared.push(preparation);
        this.#first = { address: preparation.localAddress!, port: preparation.localPort! };
        return {
          descriptor: this.prepared.length,
          localAddress: preparation.localAddress!,
          localPort: preparation.localPort!,
        };
      },
      connect: (descriptor) => {
        if (this.during.length > 0) this.tell(...this.during);
        queueMicrotask(() => connected([{ descriptor }]));
      },
      cancel: () => true,
      subflows: () => undefined,
      stop: () => undefined,
    };
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- the class below has one of its own
    const kernel = this;
    class Control implements NativeMptcpControl {
      constructor(descriptor: number, wake: () => void) {
        kernel.calls.push(`control ${descriptor}`);
        kernel.#wake = wake;
      }
      state = (): { enabled: boolean; connections: number; sockets: number } => ({
        enabled: kernel.enabled,
        connections: 1,
        sockets: 1,
      });
      connection = (token: number): NativeMptcpConnection | undefined =>
        kernel.gone ? undefined : { state: kernel.state, token, subflows: kernel.subflows };
      addSubflow(
        token: number,
        local: { address: string; port: number },
        _remote: unknown,
        backup: boolean,
      ): number {
        kernel.calls.push(`add ${token} ${local.address} ${local.port}${backup ? ' backup' : ''}`);
        const refused = kernel.refusals.shift();
        if (refused) throw Object.assign(new Error(refused), { code: refused });
        return 100 + kernel.calls.length;
      }
      removeSubflow(token: number, id: number): boolean {
        return kernel.calls.push(`remove ${token} ${id}`) > 0;
      }
      setBackup(token: number, id: number, backup: boolean): boolean {
        return kernel.calls.push(`backup ${token} ${id} ${backup}`) > 0;
      }
      events = (): NativeMptcpEvent[] =>
        kernel.events.splice(0).map((event) => ({
          type: 'created',
          token: TOKEN,
          id: 0,
          local: kernel.#first!,
          remote: REMOTE,
          addressId: 0,
          backup: false,
          lost: 0,
          ...event,
        }));
      close(): void {
        kernel.calls.push('close');
      }
    }
    this.connector = new FreeBsdConnector({
      native,
      descriptors: {
        close: () => undefined,
        reset: (descriptor: number) => this.calls.push(`reset ${descriptor}`),
      } as Partial<NativeDescriptors> as NativeDescriptors,
      interception: {
        Tproxy: class {
          register(...[, { address, port }]: Parameters<NativeTproxy['register']>): void {
            kernel.calls.push(`register ${address} ${port}`);
          }
          unregister(...[, { address, port }]: Parameters<NativeTproxy['unregister']>): boolean {
            return kernel.calls.push(`forget ${address} ${port}`) > 0;
          }
          close(): void {
            kernel.calls.push('tproxy closed');
          }
        },
      } as unknown as NativeInterception,
      host: {
        open: async () => 9,
        openTransparent: async (family: number, _count: number, mptcp: boolean) => {
          kernel.calls.push(`sockets ${family} ${mptcp}`);
          return [500];
        },
      } as Partial<FreeBsdHost> as FreeBsdHost,
      mptcp: {
        native: {
          Control,
          socket: () => ({ state: this.state, token: this.token, subflows: this.subflows }),
        },
        clock: this.clock,
        open,
      },
      warn: (message) => this.warnings.push(message),
      random: () => 0,
    });
  }

  tell(...events: Partial<NativeMptcpEvent>[]): void {
    this.events.push(...events);
    this.#wake();
  }
}

test('established, a second subflow pinned before its SYN, made a backup, removed', async () => {
  const kernel = new Kernel();
  await kernel.connector.start();
  assert.equal(kernel.connector.multipath, true);
  kernel.during = [{ type: 'created' }, { type: 'established' }];
  const connection = await kernel.connector.connect(OPTIONS);
  assert.equal(kernel.prepared[0]!.mptcp, true);
  assert.equal(connection.protocol, 'mptcp');
  assert.equal(connection.token, TOKEN);
  const events: MptcpEvent[] = [];
  connection.onEvent((event) => events.push(event));
  assert.deepEqual(events, [{ type: 'established' }], 'what came before connect() returned is not lost');

  const pinned: Flow[] = [];
  const subflow = await connection.addSubflow({
    localAddress: '192.0.2.9',
    remote: REMOTE,
    beforeSyn(flow) {
      pinned.push(flow);
      kernel.calls.push('pin');
    },
  });
  const { local } = subflow.flow;
  assert.deepEqual(kernel.calls.slice(-2), ['pin', `add ${TOKEN} 192.0.2.9 ${local.port}`]);
  assert.deepEqual(pinned, [subflow.flow]);
  assert.equal(subflow.state, 'joining');
  kernel.tell({ type: 'subflow-up', id: 103, local });
  assert.equal(connection.subflows()[1]!.state, 'established');
  assert.equal(connection.subflows()[1]!.backup, false);

  await connection.setBackup(1, true);
  assert.equal(kernel.calls.at(-1), `backup ${TOKEN} 103 true`);
  await connection.removeSubflow(1);
  assert.equal(kernel.calls.at(-1), `remove ${TOKEN} 103`);
  kernel.tell({ type: 'subflow-down', id: 103, local });
  assert.deepEqual(events.at(-1), {
    type: 'subflow-closed',
    subflow: { id: 1, flow: { local, remote: REMOTE }, state: 'closed', backup: true },
  });
  await assert.rejects(connection.removeSubflow(1), { code: 'ENOENT' });
  kernel.tell({ type: 'closed' });
  assert.deepEqual(events.at(-1), { type: 'closed' });
  await assert.rejects(connection.setBackup(0, true), { code: 'ENOTCONN' });
});

test('a port that is taken: another one, pinned as well', async () => {
  const kernel = new Kernel();
  await kernel.connector.start();
  kernel.during = [{ type: 'established' }];
  const connection = await kernel.connector.connect(OPTIONS);
  kernel.refusals = ['EADDRINUSE', 'EADDRNOTAVAIL'];
  const pins: number[] = [];
  const subflow = await connection.addSubflow({
    localAddress: '192.0.2.9',
    remote: REMOTE,
    beforeSyn: (flow) => pins.push(flow.local.port),
  });
  assert.equal(pins.length, 3);
  assert.equal(subflow.flow.local.port, pins[2]);
  kernel.refusals = ['ENOBUFS'];
  await assert.rejects(
    connection.addSubflow({ localAddress: '192.0.2.9', remote: REMOTE, beforeSyn: () => undefined }),
    { code: 'ELIMIT' },
  );
  assert.equal(connection.subflows().length, 2, 'the one that could not be made is not there');
});

test("in a client's name: a socket of MPTCP's handed over, each subflow's answers registered", async () => {
  const kernel = new Kernel();
  await kernel.connector.start();
  kernel.during = [{ type: 'established' }];
  const source = { address: '198.18.1.10', port: 40_000 };
  const connection = await kernel.connector.connect({ ...OPTIONS, source });
  const [prepared] = kernel.prepared;
  assert.deepEqual([prepared?.mptcp, prepared?.transparent, prepared?.descriptor], [true, true, 500]);
  assert.deepEqual(kernel.calls.slice(-2), ['sockets 4 true', 'register 198.18.1.10 40000']);
  kernel.refusals = ['EADDRINUSE'];
  const subflow = await connection.addSubflow({
    localAddress: '198.18.1.10',
    remote: REMOTE,
    beforeSyn: () => kernel.calls.push('pin'),
  });
  const { port } = subflow.flow.local;
  assert.deepEqual(kernel.calls.slice(-7), [
    'pin',
    `register 198.18.1.10 ${port - 1}`,
    `add ${TOKEN} 198.18.1.10 ${port - 1}`,
    `forget 198.18.1.10 ${port - 1}`,
    'pin',
    `register 198.18.1.10 ${port}`,
    `add ${TOKEN} 198.18.1.10 ${port}`,
  ]);
  await kernel.connector.stop();
  assert.equal(kernel.calls.at(-1), 'tproxy closed');
});

test('no subflow before the peer has shown that it speaks MPTCP, and none after a fall-back', async () => {
  const kernel = new Kernel();
  await kernel.connector.start();
  const connection = await kernel.connector.connect(OPTIONS);
  const events: MptcpEvent[] = [];
  connection.onEvent((event) => events.push(event));
  const request = { localAddress: '192.0.2.9', remote: REMOTE, beforeSyn: () => undefined };
  await assert.rejects(connection.addSubflow(request), { code: 'EAGAIN' });
  kernel.tell({ type: 'fallback' });
  assert.equal(connection.protocol, 'tcp');
  assert.deepEqual(events, [{ type: 'fallback' }]);
  await assert.rejects(connection.addSubflow(request), { code: 'EOPNOTSUPP' });
});

test('a server without MPTCP: plain TCP, said at once', async () => {
  const kernel = new Kernel();
  kernel.state = 'fallback';
  kernel.token = 0;
  await kernel.connector.start();
  const connection = await kernel.connector.connect(OPTIONS);
  assert.equal(connection.protocol, 'tcp');
  const events: MptcpEvent[] = [];
  connection.onEvent((event) => events.push(event));
  assert.deepEqual(events, [{ type: 'fallback' }]);
});

test('a subflow that the server resets at once is refused, and tells how many it takes', async () => {
  const kernel = new Kernel();
  await kernel.connector.start();
  kernel.during = [{ type: 'established' }];
  const connection = await kernel.connector.connect(OPTIONS);
  const events: MptcpEvent[] = [];
  connection.onEvent((event) => events.push(event));
  const request = { localAddress: '192.0.2.9', remote: REMOTE, beforeSyn: () => undefined };
  const { flow } = await connection.addSubflow(request);
  kernel.tell({ type: 'subflow-up', local: flow.local });
  kernel.tell({ type: 'subflow-down', local: flow.local, error: 'ECONNRESET' });
  const closed = events.at(-1)!;
  assert.ok(closed.type === 'subflow-closed' && closed.refused && closed.code === 'ECONNRESET');
  await assert.rejects(connection.addSubflow(request), { code: 'ELIMIT' });
});

test('events were lost: the connection is compared with what the kernel says', async () => {
  const kernel = new Kernel();
  await kernel.connector.start();
  const connection = await kernel.connector.connect(OPTIONS);
  const events: MptcpEvent[] = [];
  connection.onEvent((event) => events.push(event));
  kernel.tell({ type: 'created', token: 1, lost: 3 });
  assert.deepEqual(events, [{ type: 'established' }]);
  kernel.gone = true;
  kernel.tell({ type: 'created', token: 1, lost: 1 });
  assert.deepEqual(events.at(-1), { type: 'closed' });
});

test('without the module, or switched off: plain TCP, with one word about it', async () => {
  const missing = new Kernel(() => Promise.reject(new Error('kldload: mptcp: no such file')));
  await missing.connector.start();
  assert.equal(missing.connector.multipath, false);
  assert.match(missing.warnings[0]!, /plain TCP.*no such file/);
  const connection = await missing.connector.connect(OPTIONS);
  assert.equal(missing.prepared[0]!.mptcp, undefined);
  assert.equal(connection.protocol, 'tcp');

  const off = new Kernel();
  off.enabled = false;
  await off.connector.start();
  assert.equal(off.connector.multipath, false);
  assert.deepEqual(off.calls, ['control 5', 'close']);
  await off.connector.stop();

  const on = new Kernel();
  await on.connector.start();
  await on.connector.connect({ ...OPTIONS, multipath: false });
  assert.equal(on.prepared[0]!.mptcp, undefined, 'a server known not to speak MPTCP is not asked');
  await on.connector.stop();
  assert.equal(on.calls.at(-1), 'close');
});
