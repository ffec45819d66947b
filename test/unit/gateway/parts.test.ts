// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Ageing } from '../../../src/gateway/ageing.js';
import type { Connection } from '../../../src/gateway/connection.js';
import { Groups } from '../../../src/gateway/groups.js';
import { Holds } from '../../../src/gateway/hold.js';
import { BypassSet } from '../../../src/gateway/intercept.js';
import { Pins } from '../../../src/gateway/pins.js';
import { Watch } from '../../../src/gateway/watch.js';
import type { Mapping } from '../../../src/lisp/mapping.js';
import type { Resolution } from '../../../src/lisp/mapping-system.js';
import { VirtualClock } from '../../../src/platform/memory/index.js';
import type { Flow, PathCounters } from '../../../src/platform/platform.js';

const path = { local: '203.0.113.2', remote: '203.0.123.2' };
const flow = (port: number): Flow => ({
  local: { address: '192.0.2.1', port },
  remote: { address: '198.18.1.10', port: 80 },
});

describe('pins', () => {
  it('outlive their flow for a while, but not the next one with the same ports', async () => {
    const clock = new VirtualClock();
    const calls: string[] = [];
    const pins = new Pins(
      {
        pin: (of) => void calls.push(`pin ${of.local.port}`),
        unpin: (of) => void calls.push(`unpin ${of.local.port}`),
      },
      clock,
      10_000,
    );
    pins.set(flow(1), path, 0);
    pins.set(flow(2), path, 0);
    pins.release(flow(1));
    pins.release(flow(2));
    await clock.advance(5000);
    pins.set(flow(1), path, 0);
    await clock.advance(6000);
    assert.deepEqual(calls, ['pin 1', 'pin 2', 'pin 1', 'unpin 2']);
    pins.drop(flow(1));
    assert.equal(calls.at(-1), 'unpin 1');
    assert.equal(pins.size, 0);
    pins.set(flow(3), path, 0);
    pins.clear();
    assert.equal(calls.at(-1), 'unpin 3');
  });
});

describe('holds', () => {
  const found = { status: 'negative', mapping: {} } as unknown as Resolution;
  it('end with the answer or with their time, whichever is first', async () => {
    const clock = new VirtualClock();
    const holds = new Holds(clock);
    const outcomes: string[] = [];
    const note = (name: string) => (outcome: Resolution) => void outcomes.push(`${name} ${outcome.status}`);
    void holds.wait(new Promise(() => undefined), 100).then(note('a'));
    void holds.wait(Promise.resolve(found), 100).then(note('b'));
    void holds.wait(Promise.reject(new Error('x')), 100).then(note('c'));
    await clock.advance(50);
    void holds.wait(new Promise(() => undefined), 100).then(note('d'));
    assert.equal(holds.size, 2);
    await clock.advance(60);
    assert.deepEqual(outcomes, ['b negative', 'c unreachable', 'a unreachable']);
    assert.equal(holds.size, 1);
    holds.releaseAll();
    await clock.advance(1);
    assert.equal(outcomes.at(-1), 'd unreachable');
    assert.equal(holds.size, 0);
  });
});

describe('ageing', () => {
  it('tells of those old enough in their order, and of nobody who has gone', async () => {
    const clock = new VirtualClock();
    const told: unknown[] = [];
    const line = new Ageing(clock, (connection) => told.push(connection));
    const [a, b, c] = ['a', 'b', 'c'] as unknown as [Connection, Connection, Connection];
    line.add(a, 20);
    line.add(b, 20);
    await clock.advance(10);
    line.add(c, 20);
    line.forget(a);
    await clock.advance(10);
    assert.deepEqual(told, ['b']);
    await clock.advance(10);
    assert.deepEqual(told, ['b', 'c']);
    // With the last one its timer goes, and comes again with the next.
    line.add(a, 20);
    line.forget(a);
    await clock.advance(5);
    line.add(b, 20);
    await clock.advance(19);
    assert.equal(told.length, 2);
    await clock.advance(1);
    assert.deepEqual(told, ['b', 'c', 'b']);
  });
});

describe('groups', () => {
  const mapping = { iid: 0, eid: '198.18.1.0/24' } as unknown as Mapping;
  const connection = (): Connection => ({ group: undefined }) as unknown as Connection;

  it('keep a plan for the next connection until something changes', () => {
    let plans = 0;
    const groups = new Groups(() => [{ local: 'l', remote: `r${++plans}` }]);
    const first = connection();
    groups.join(first, groups.of(mapping));
    groups.leave(first);
    assert.equal(groups.of(mapping).paths[0]!.remote, 'r1');
    // Another mapping: another plan. The state of a path: the plan of a group nobody is in is forgotten.
    assert.equal(groups.of({ ...mapping }).paths[0]!.remote, 'r2');
    assert.equal(groups.replan([...groups][0]!), false);
    assert.equal([...groups].length, 0);
  });

  it('do not hand a plan on that was made around pairs in use', () => {
    const kept: number[] = [];
    const groups = new Groups((_, keep) => {
      kept.push(keep.length);
      return [{ local: 'l', remote: `r${kept.length}` }];
    });
    const first = connection();
    const group = groups.of(mapping);
    groups.join(first, group);
    assert.equal(groups.replan(group), true);
    groups.leave(first);
    groups.of(mapping);
    assert.deepEqual(kept, [0, 1, 0]);
  });

  it('without connections are not kept without bound', () => {
    const groups = new Groups(() => []);
    for (let n = 0; n < 1500; n++) groups.tidy(groups.of({ ...mapping, iid: n }));
    assert.equal([...groups].length, 1000);
  });
});

describe('bypass set', () => {
  it('never overlaps, and gives way to a mapping', async () => {
    const clock = new VirtualClock();
    const calls: string[] = [];
    const set = new BypassSet(
      {
        addBypass: (prefix, ttl) => Promise.resolve(void calls.push(`+${prefix} ${ttl}`)),
        removeBypass: (prefix) => Promise.resolve(void calls.push(`-${prefix}`)),
      },
      clock,
      () => undefined,
    );
    const none = (): boolean => false;
    set.remember('8.8.8.8', '8.8.8.0/24', 60, none);
    set.remember('8.8.8.9', '8.8.8.9/32', 60, none);
    set.remember('8.8.9.1', '8.8.0.0/16', 60, none);
    assert.deepEqual(calls.splice(0), ['+8.8.8.0/24 60', '-8.8.8.0/24', '+8.8.0.0/16 60']);
    set.contradict('8.8.4.0/24');
    set.contradict('9.0.0.0/8');
    assert.deepEqual(calls.splice(0), ['-8.8.0.0/16']);
    set.remember('8.8.8.8', '8.0.0.0/7', 60, () => true);
    assert.deepEqual(calls.splice(0), ['+8.8.8.8/32 60']);
    await clock.advance(61_000);
    set.remember('8.8.8.8', '8.8.8.8/32', 60, none);
    assert.deepEqual(calls, ['+8.8.8.8/32 60']);
  });
});

describe('watch', () => {
  const counters = (sent: number, received: number): PathCounters[] => [
    { ...path, packetsSent: sent, bytesSent: 0, packetsReceived: received, bytesReceived: 0 },
  ];
  const look = (watch: Watch, at: number, sent: number, received: number): boolean =>
    watch.look(at, counters(sent, received), () => 20).suspects.length > 0;

  it('suspects a path that does not answer, once', () => {
    const watch = new Watch({ silenceMs: 200, busyPackets: 4 });
    assert.equal(look(watch, 0, 0, 0), false);
    assert.equal(look(watch, 100, 3, 0), false);
    assert.equal(look(watch, 300, 5, 0), false);
    assert.equal(look(watch, 340, 5, 0), true);
    assert.equal(look(watch, 600, 9, 0), false);
    assert.equal(look(watch, 700, 9, 1), false);
    assert.equal(look(watch, 800, 10, 1), false);
    assert.equal(look(watch, 1100, 10, 1), true);
  });
  it('suspects a path that stops in mid-stream', () => {
    const watch = new Watch({ silenceMs: 200, busyPackets: 4 });
    for (let at = 0; at <= 500; at += 100) assert.equal(look(watch, at, 0, at / 20), false);
    assert.equal(look(watch, 700, 0, 25), false);
    assert.equal(look(watch, 750, 0, 25), true);
  });
  it('leaves an idle path alone, and one that answers', () => {
    const watch = new Watch({ silenceMs: 200, busyPackets: 4 });
    for (let at = 0; at <= 5000; at += 100) assert.equal(look(watch, at, 0, 0), false);
    for (let at = 5000, n = 0; at <= 9000; at += 100, n++) assert.equal(look(watch, at, n, n), false);
    look(watch, 9100, 41, 42);
    for (let at = 9200; at <= 15_000; at += 100) look(watch, at, 41, 42);
    assert.deepEqual(watch.look(15_100, counters(41, 42), () => 20).live, []);
  });
});
