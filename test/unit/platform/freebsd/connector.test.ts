// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  NativeConnector,
  NativeInterception,
  NativeTproxy,
  TcpPreparation,
} from '../../../../src/native/freebsd/interception.types.js';
import type { NativeDescriptors } from '../../../../src/native/linux/sockets.types.js';
import { FreeBsdConnector } from '../../../../src/platform/freebsd/connector.js';
import type { FreeBsdHost } from '../../../../src/platform/freebsd/host.js';
import type { ConnectOptions } from '../../../../src/platform/platform.js';

const OPTIONS: ConnectOptions = {
  source: { prefix: '192.0.2.0/30' },
  remote: { address: '198.18.2.10', port: 443 },
  multipath: true,
  viaLisp: true,
  timeoutMs: 3000,
  beforeSyn: () => undefined,
};

function world(
  outcomes: (string | undefined)[],
  refusals: string[] = [],
): {
  connector: FreeBsdConnector;
  calls: string[];
  prepared: TcpPreparation[];
} {
  const calls: string[] = [];
  const prepared: TcpPreparation[] = [];
  let connected: (batch: { descriptor: number; error?: string }[]) => void = () => undefined;
  const native: NativeConnector = {
    start: (callback) => (connected = callback),
    openTransparent: () => 0,
    liveAddresses: () => [],
    prepare: (preparation) => {
      prepared.push(preparation);
      const refused = refusals.shift();
      if (refused) throw Object.assign(new Error(refused), { code: refused });
      calls.push('prepare');
      return {
        descriptor: prepared.length,
        localAddress: preparation.localAddress!,
        localPort: preparation.localPort!,
      };
    },
    connect: (descriptor) => {
      calls.push('connect');
      const error = outcomes.shift();
      queueMicrotask(() => connected([{ descriptor, ...(error !== undefined && { error }) }]));
    },
    cancel: () => true,
    subflows: () => undefined,
    stop: () => calls.push('stop'),
  };
  const descriptors = {
    close: (descriptor: number) => calls.push(`close ${descriptor}`),
    reset: (descriptor: number) => calls.push(`reset ${descriptor}`),
  } as Partial<NativeDescriptors> as NativeDescriptors;
  const interception = {
    Tproxy: class {
      constructor(descriptor: number) {
        calls.push(`tproxy ${descriptor}`);
      }
      register(...[from, to, listener]: Parameters<NativeTproxy['register']>): void {
        calls.push(`register ${from.address}:${from.port} ${to.address}:${to.port} ${listener.address}`);
      }
      unregister(...[from, to]: Parameters<NativeTproxy['unregister']>): boolean {
        calls.push(`unregister ${from.address}:${from.port} ${to.address}:${to.port}`);
        return true;
      }
      close(): void {
        calls.push('tproxy closed');
      }
    },
  } as unknown as NativeInterception;
  const host = {
    open: async () => 900,
    openTransparent: async (family: number, count: number) => {
      calls.push(`sockets ${family}`);
      return Array.from({ length: count }, (_, n) => 1000 + n);
    },
  } as Partial<FreeBsdHost> as FreeBsdHost;
  const connector = new FreeBsdConnector({ native, descriptors, interception, host, random: () => 0 });
  return { connector, calls, prepared };
}

test('pinned before the SYN; one subflow of plain TCP from an EID by the LISP table', async () => {
  const { connector, calls, prepared } = world([undefined, undefined]);
  await connector.start();
  const link = await connector.connect({ ...OPTIONS, beforeSyn: () => calls.push('pin') });
  assert.deepEqual(calls, ['prepare', 'pin', 'connect']);
  assert.equal(link.protocol, 'tcp');
  assert.deepEqual(prepared[0], {
    address: '198.18.2.10',
    transparent: false,
    localAddress: '192.0.2.1',
    localPort: 10240,
    fib: 1,
  });
  await assert.rejects(link.addSubflow({} as never), { code: 'EOPNOTSUPP' });
  await connector.connect({ ...OPTIONS, viaLisp: false });
  assert.deepEqual([prepared[1]?.localAddress, prepared[1]?.fib], ['192.0.2.2', undefined]);
  link.abandon();
  link.abandon();
  assert.deepEqual(
    calls.filter((call) => call.startsWith('reset')),
    ['reset 1'],
  );
});

test("the server's own words are final, a port that is taken is not", async () => {
  const refused = world(['ECONNREFUSED']);
  await refused.connector.start();
  await assert.rejects(refused.connector.connect(OPTIONS), { code: 'ECONNREFUSED' });
  assert.deepEqual(refused.calls, ['prepare', 'connect', 'close 1']);
  const busy = world([undefined], ['EADDRINUSE', 'EADDRINUSE']);
  await busy.connector.start();
  await busy.connector.connect(OPTIONS);
  assert.deepEqual(
    busy.prepared.map(({ localPort }) => localPort),
    [10240, 10241, 10242],
  );
});

const CLIENT: ConnectOptions = { ...OPTIONS, source: { address: '198.18.1.10', port: 40000 } };
const SERVER = '198.18.2.10:443';

test("the client's own address: a socket handed over, its answers registered before the SYN", async () => {
  const { connector, calls, prepared } = world([undefined, undefined]);
  await connector.start();
  await connector.connect({ ...CLIENT, beforeSyn: () => calls.push('pin') });
  assert.deepEqual(calls, [
    'tproxy 900',
    'sockets 4',
    'prepare',
    'pin',
    `register ${SERVER} 198.18.1.10:40000 127.0.0.1`,
    'connect',
  ]);
  assert.deepEqual(prepared[0], {
    address: '198.18.2.10',
    transparent: true,
    descriptor: 1015,
    localAddress: '198.18.1.10',
    localPort: 40000,
    fib: 1,
  });
  calls.length = 0;
  await connector.connect({ ...CLIENT, source: { address: '198.18.1.10' } });
  assert.deepEqual(calls, ['prepare', `register ${SERVER} 198.18.1.10:10240 127.0.0.1`, 'connect']);
  calls.length = 0;
  await connector.stop();
  assert.equal(calls.filter((call) => call.startsWith('close ')).length, 14, 'sockets that nobody used');
  assert.equal(calls.at(-1), 'tproxy closed');
  await assert.rejects(connector.connect(CLIENT), { code: 'EINVAL' });
});

test("a connection in a client's name that fails is forgotten; a port that is taken costs a socket", async () => {
  const { connector, calls, prepared } = world(['ECONNREFUSED'], ['EADDRINUSE']);
  await connector.start();
  await assert.rejects(connector.connect(CLIENT), { code: 'ECONNREFUSED' });
  assert.deepEqual(
    prepared.map(({ localPort, descriptor }) => [localPort, descriptor]),
    [
      [40000, 1015],
      [10240, 1014],
    ],
  );
  assert.deepEqual(calls.slice(-2), ['close 2', `unregister ${SERVER} 198.18.1.10:10240`]);
});

test('connects that come at once share what is handed over', async () => {
  const { connector, calls } = world([]);
  await connector.start();
  await Promise.all(Array.from({ length: 20 }, () => connector.connect(CLIENT)));
  assert.equal(calls.filter((call) => call === 'tproxy 900').length, 1);
  assert.equal(calls.filter((call) => call === 'sockets 4').length, 2);
});
