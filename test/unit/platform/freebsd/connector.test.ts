// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativeConnector, TcpPreparation } from '../../../../src/native/freebsd/interception.types.js';
import type { NativeDescriptors } from '../../../../src/native/linux/sockets.types.js';
import { FreeBsdConnector } from '../../../../src/platform/freebsd/connector.js';
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
  return { connector: new FreeBsdConnector({ native, descriptors, random: () => 0 }), calls, prepared };
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

test("the client's own address is refused, with the reason", async () => {
  const { connector } = world([]);
  await connector.start();
  await assert.rejects(connector.connect({ ...OPTIONS, source: { address: '198.18.1.10' } }), {
    code: 'EOPNOTSUPP',
  });
});
