// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BoundedMap, Counters, RateLimiter, Timers } from '../../../src/lisp/environment.js';
import { VirtualClock } from './simulation.js';

describe('RateLimiter', () => {
  it('lets a burst through, then the rate', async () => {
    const clock = new VirtualClock();
    const limiter = new RateLimiter<string>(clock, 10, 5);
    const pass = () => Array.from({ length: 100 }, () => limiter.allow('a')).filter(Boolean).length;
    assert.equal(pass(), 5);
    await clock.advance(300);
    assert.equal(pass(), 3);
    assert.equal(limiter.allow('b'), true);
    await clock.advance(60_000);
    assert.equal(pass(), 5);
  });

  it('remembers a bounded number of peers', () => {
    const limiter = new RateLimiter<number>(new VirtualClock(), 1, 1, 10);
    for (let key = 0; key < 1000; key++) limiter.allow(key);
    assert.equal(limiter.allow(999), false);
    assert.equal(limiter.allow(0), true);
  });
});

describe('BoundedMap', () => {
  it('forgets what was set first', () => {
    const map = new BoundedMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    map.set('a', 3);
    map.set('c', 4);
    assert.deepEqual(map.entries(), [
      ['a', 3],
      ['c', 4],
    ]);
  });
});

describe('Timers', () => {
  it('end with their owner', async () => {
    const clock = new VirtualClock();
    const timers = new Timers(clock);
    const ran: string[] = [];
    timers.start(() => ran.push('first'), 10);
    const cancel = timers.start(() => ran.push('cancelled'), 10);
    timers.start(() => ran.push('stopped'), 30);
    cancel();
    await clock.advance(20);
    timers.stop();
    timers.start(() => ran.push('late'), 1);
    await clock.advance(100);
    assert.deepEqual(ran, ['first']);
    assert.equal(clock.pending, 0);
  });
});

describe('Counters', () => {
  it('count by name, sorted', () => {
    const counters = new Counters();
    counters.add('b');
    counters.add('a', 2);
    counters.add('b');
    assert.deepEqual(Object.entries(counters.snapshot()), [
      ['a', 2],
      ['b', 2],
    ]);
  });
});
