// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  NativeNetwork,
  SimulatedHost,
  SimulatedNetwork,
  VirtualClock,
} from '../../../../src/platform/memory/index.js';
import {
  decodeSegment,
  encodeSegment,
  KINDS,
  type Segment,
} from '../../../../src/platform/memory/segment.js';
import { streamPair } from '../../../../src/platform/memory/stream.js';
import { MemoryRelay } from '../../../../src/platform/memory/relay.js';
import { Descriptors } from '../../../../src/platform/memory/stream.js';
import { observe, send } from '../../gateway/world.js';

describe('virtual clock', () => {
  it('runs timers in order of time, then of setting, and none that was cleared', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.setTimeout(() => seen.push('b'), 20);
    clock.setTimeout(() => seen.push('a'), 10);
    clock.setTimeout(() => seen.push('c'), 20);
    clock.clearTimeout(clock.setTimeout(() => seen.push('never'), 15));
    await clock.advance(19);
    assert.deepEqual(seen, ['a']);
    assert.equal(clock.now(), 19);
    await clock.advance(1);
    assert.deepEqual(seen, ['a', 'b', 'c']);
  });
  it('waits for a condition, and says when it cannot come', async () => {
    const clock = new VirtualClock();
    let done = false;
    clock.setTimeout(() => (done = true), 50);
    await clock.until(() => done);
    assert.equal(clock.now(), 50);
    await assert.rejects(
      clock.until(() => false, 100, 'the impossible'),
      /nothing is left to happen, and the impossible/,
    );
    clock.setTimeout(() => undefined, 500);
    await assert.rejects(
      clock.until(() => false, 100, 'the impossible'),
      /not met within 100 ms/,
    );
  });
  it('keeps the order of any timers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(50), { maxLength: 40 }), async (delays) => {
        const clock = new VirtualClock();
        const seen: number[] = [];
        for (const delay of delays) clock.setTimeout(() => seen.push(delay), delay);
        await clock.advance(50);
        assert.deepEqual(
          seen,
          [...delays].sort((a, b) => a - b),
        );
      }),
      { numRuns: 30 },
    );
  });
});

describe('simulated network', () => {
  it('has rate, delay, a queue, and can be cut', async () => {
    const clock = new VirtualClock();
    const network = new SimulatedNetwork(clock, { delayMs: 10, queueBytes: 3000, rateMbps: 8 });
    const arrivals: number[] = [];
    network.attach('b', 1, () => arrivals.push(Math.round(clock.now())));
    const packet = {
      from: { address: 'a', port: 1 },
      to: { address: 'b', port: 1 },
      data: new Uint8Array(972),
    };
    for (let i = 0; i < 4; i++) network.send(packet);
    await clock.advance(100);
    // 1000 octets at 8 Mbit/s take 1 ms; the fourth found the queue full.
    assert.deepEqual(arrivals, [11, 12, 13]);
    assert.equal(network.counters('a', 'b').dropped, 1);
    network.send(packet);
    network.cut('a', 'b');
    await clock.advance(100);
    assert.equal(arrivals.length, 3);
    network.restore('a', 'b');
    network.send(packet);
    await clock.advance(100);
    assert.equal(arrivals.length, 4);
  });
});

describe('segments', () => {
  const plain = { noNullPrototype: true };
  const endpoint4 = fc.record({ address: fc.ipV4(), port: fc.nat(65_535) }, plain);
  const endpoint6 = fc.record(
    { address: fc.constantFrom('2001:db8::1', '2001:db8:1::2'), port: fc.nat(65_535) },
    plain,
  );
  const segment: fc.Arbitrary<Segment> = fc.record(
    {
      flow: fc.oneof(
        fc.record({ local: endpoint4, remote: endpoint4 }, plain),
        fc.record({ local: endpoint6, remote: endpoint6 }, plain),
      ),
      kind: fc.constantFrom(...KINDS),
      capable: fc.boolean(),
      join: fc.boolean(),
      backup: fc.boolean(),
      fin: fc.boolean(),
      token: fc.nat(),
      dsn: fc.maxSafeNat(),
      payload: fc.uint8Array({ maxLength: 64 }),
    },
    plain,
  );
  it('come back as they went', () => {
    fc.assert(fc.property(segment, (value) => assert.deepEqual(decodeSegment(encodeSegment(value)), value)));
  });
  it('are not made of anything else', () => {
    fc.assert(
      fc.property(segment, fc.nat(), (value, cut) => {
        const bytes = encodeSegment({ ...value, payload: new Uint8Array(0) });
        assert.equal(decodeSegment(bytes.subarray(0, cut % bytes.length)), undefined);
      }),
    );
  });
});

describe('simulated MPTCP', () => {
  const pair = (loss = false) => {
    const clock = new VirtualClock();
    const native = new NativeNetwork(clock);
    const [client, server] = [new SimulatedHost(clock), new SimulatedHost(clock)];
    let count = 0;
    native.attach('192.0.2.1/32', (packet, reply) => client.input(packet, reply));
    native.attach('192.0.2.2/32', (packet, reply) => {
      if (!loss || ++count % 50 !== 0) server.input(packet, reply);
    });
    return { clock, native, client, server };
  };
  const flow = {
    local: { address: '192.0.2.1', port: 40_000 },
    remote: { address: '192.0.2.2', port: 80 },
  };

  it('loses and doubles nothing, even where packets are lost', async () => {
    const { clock, native, client, server } = pair(true);
    let seen: ReturnType<typeof observe> | undefined;
    server.listen(flow.remote, { mptcp: true, accept: (stream) => (seen = observe(stream)) });
    const connecting = client.connect(flow, native.output, { mptcp: true, timeoutMs: 9000 });
    let hash = '';
    void connecting.then((connection) => {
      observe(connection);
      hash = send(connection, 300_000);
    });
    await clock.until(() => seen?.ended === true, 600_000, 'the upload');
    assert.equal(seen!.bytes, 300_000);
    assert.equal(seen!.hash(), hash);
  });

  it('tells a refusal from silence', async () => {
    const { clock, native, client } = pair();
    const outcome = (to: typeof flow): Promise<string> =>
      client.connect(to, native.output, { mptcp: true, timeoutMs: 4000 }).then(
        () => 'connected',
        (error: { code: string }) => error.code,
      );
    const codes: string[] = [];
    void outcome(flow).then((code) => codes.push(code));
    void outcome({ ...flow, remote: { address: '192.0.2.9', port: 80 } }).then((code) => codes.push(code));
    await clock.until(() => codes.length === 2);
    assert.deepEqual(codes.sort(), ['ECONNREFUSED', 'ENETUNREACH']);
  });

  it('forgets connections that are over', async () => {
    const { clock, native, client, server } = pair();
    server.listen(flow.remote, {
      mptcp: true,
      accept: (stream) => {
        observe(stream);
        stream.end();
      },
    });
    void client.connect(flow, native.output, { mptcp: true, timeoutMs: 4000 }).then((connection) => {
      observe(connection);
      connection.end();
    });
    await clock.advance(10_000);
    assert.equal(server.connections, 0);
  });
});

describe('memory relay', () => {
  const relayed = (idleTimeoutMs = 60_000, halfOpenTimeoutMs = 5000) => {
    const clock = new VirtualClock();
    const descriptors = new Descriptors();
    const relay = new MemoryRelay(descriptors, clock);
    const [client, a] = streamPair();
    const [b, server] = streamPair();
    const session = relay.run(descriptors.open(a), descriptors.open(b), {
      idleTimeoutMs,
      halfOpenTimeoutMs,
      keepaliveSeconds: 0,
    });
    return { clock, descriptors, session, client, server };
  };

  it('moves both ways, half-closes, and closes its descriptors', async () => {
    const { clock, descriptors, session, client, server } = relayed();
    const [down, up] = [observe(client), observe(server)];
    const hash = send(client, 2_000_000);
    await clock.until(() => up.ended);
    assert.equal(up.hash(), hash);
    server.write(Buffer.from('late'));
    server.end();
    const report = await session.closed;
    assert.deepEqual(
      { reason: report.reason, up: report.up, down: report.down },
      { reason: 'finished', up: 2_000_000, down: 4 },
    );
    await clock.until(() => down.ended);
    assert.equal(descriptors.size, 0);
  });

  it('holds a fast sender back', async () => {
    const { clock, session, client, server } = relayed();
    const up = observe(server);
    server.pause();
    observe(client);
    send(client, 8_000_000);
    await clock.advance(100);
    assert.ok(session.counters().up < 3_000_000, `${session.counters().up}`);
    server.resume();
    await clock.until(() => up.ended);
    assert.equal(up.bytes, 8_000_000);
  });

  it('ends what is idle, and what stays half open', async () => {
    const idle = relayed(1000);
    const seen = observe(idle.client);
    await idle.clock.advance(1001);
    assert.equal((await idle.session.closed).reason, 'idle-timeout');
    assert.equal(seen.code, 'ECONNRESET');
    const half = relayed(60_000, 500);
    observe(half.client);
    observe(half.server);
    half.client.end();
    await half.clock.advance(1000);
    assert.equal((await half.session.closed).reason, 'half-open-timeout');
  });
});
