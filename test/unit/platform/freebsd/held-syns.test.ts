// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldSyns } from '../../../../src/platform/freebsd/held-syns.js';
import { ManualClock } from './manual-clock.js';

const LIMITS = { max: 2, ms: 1000, decidedMs: 5000, decidedMax: 3 };

const world = (): {
  clock: ManualClock;
  syns: HeldSyns;
  expired: string[];
  offer(key: string, sequence?: number): string;
} => {
  const clock = new ManualClock();
  const syns = new HeldSyns(clock, LIMITS);
  const expired: string[] = [];
  return {
    clock,
    syns,
    expired,
    offer: (key, sequence = 1) => syns.offer(key, sequence, () => expired.push(`${key} ${sequence}`)),
  };
};

test('a repeated SYN is matched to the one held, then passes as decided', () => {
  const { clock, syns, offer, expired } = world();
  assert.equal(offer('a'), 'hold');
  assert.equal(offer('a'), 'repeated');
  assert.equal(syns.decide('a', 2), false);
  assert.equal(syns.decide('a', 1), true);
  assert.equal(syns.decide('a', 1), false);
  assert.equal(offer('a'), 'pass');
  clock.advance(5001);
  assert.equal(offer('a'), 'hold');
  assert.equal(syns.decide('a', 1, false), true);
  assert.equal(offer('a'), 'hold');
  assert.deepEqual(expired, []);
});

test('another sequence number is another connection', () => {
  const { syns, offer, expired } = world();
  offer('a', 1);
  syns.decide('a', 1);
  assert.equal(offer('a', 2), 'hold');
  assert.equal(offer('a', 3), 'hold');
  assert.deepEqual(expired, ['a 2']);
  assert.equal(syns.decide('a', 2), false);
  assert.equal(syns.decide('a', 3), true);
});

test('bounded in number and in time', () => {
  const { clock, syns, offer, expired } = world();
  offer('a');
  clock.advance(500);
  offer('b');
  assert.equal(offer('c'), 'pass');
  assert.equal(syns.counters.overflowed, 1);
  clock.advance(500);
  assert.deepEqual(expired, ['a 1']);
  assert.equal(syns.size, 1);
  assert.equal(offer('a'), 'pass');
  assert.equal(offer('c'), 'hold');
  syns.releaseAll();
  assert.deepEqual(expired, ['a 1', 'b 1', 'c 1']);
  assert.equal(syns.size, 0);
  assert.equal(clock.timers, 0);
});

test('decisions are forgotten, the oldest first', () => {
  const { syns, offer } = world();
  for (const key of ['a', 'b', 'c', 'd']) {
    offer(key);
    syns.decide(key, 1);
  }
  assert.equal(offer('b'), 'pass');
  assert.equal(offer('d'), 'pass');
  assert.equal(offer('a'), 'hold');
});
