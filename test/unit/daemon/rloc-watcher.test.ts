// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RlocWatcher } from '../../../src/daemon/rloc-watcher.js';
import { VirtualClock } from '../../../src/platform/memory/clock.js';

test('RLOCs are told of when they go and when they return, once each', async () => {
  const clock = new VirtualClock();
  const told: string[] = [];
  let live = ['203.0.113.2', '127.0.0.1'];
  let errors = 0;
  const watcher = new RlocWatcher(
    clock,
    () => {
      if (live.length === 0) throw new Error('no list');
      return live;
    },
    ['203.0.113.2', '203.0.114.2'],
    (address, up) => told.push(`${address} ${up ? 'up' : 'down'}`),
    () => errors++,
  );
  const lately = async (): Promise<string[]> => {
    await clock.advance(2000);
    return told.splice(0);
  };
  watcher.start();
  assert.deepEqual(await lately(), ['203.0.114.2 down']);
  live = ['203.0.114.2'];
  assert.deepEqual(await lately(), ['203.0.113.2 down', '203.0.114.2 up']);
  // Nothing is known, so nothing is said.
  live = [];
  assert.deepEqual(await lately(), []);
  assert.equal(errors, 4);
  live = ['203.0.113.2'];
  watcher.update(['203.0.113.2']);
  assert.deepEqual(await lately(), ['203.0.113.2 up']);
  watcher.stop();
  live = ['127.0.0.1'];
  assert.deepEqual(await lately(), []);
});
