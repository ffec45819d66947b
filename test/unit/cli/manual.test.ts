// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { amptcp } from './harness.js';

test('amptcp(8) is clean mdoc and names every command', async (context) => {
  const { exit, stdout } = await amptcp('manual');
  assert.equal(exit, 0);
  for (const name of ['mapping add', 'lab run', 'config check', 'doctor'])
    assert.ok(stdout.includes(`.It Cm ${name}\n`), name);
  assert.ok(!stdout.includes('<%'));
  assert.equal((await amptcp('manual')).stdout, stdout, 'the same text each time');
  const lint = spawnSync('mandoc', ['-T', 'lint'], { input: stdout, encoding: 'utf8' });
  if (lint.error) return context.skip('no mandoc');
  // Its neighbours are installed by other means.
  const complaints = lint.stdout
    .split('\n')
    .filter((line) => line !== '' && !line.includes('referenced manual not found'));
  assert.deepEqual(complaints, []);
});
