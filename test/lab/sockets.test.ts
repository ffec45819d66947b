// SPDX-License-Identifier: BSD-2-Clause
/* The Linux sockets against real kernels: sockets-world.ts has the picture, sockets-scenarios.ts what is done. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scenarioNames } from './sockets-scenarios.js';

const scenarios = fileURLToPath(new URL('./sockets-scenarios.js', import.meta.url));
const root = process.getuid?.() === 0;
const unshare = [
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  ...(root ? [] : ['--user', '--map-root-user']),
];

const missing = ((): string | false => {
  if (process.platform !== 'linux') return 'Linux only';
  if (spawnSync('unshare', [...unshare, 'true']).status !== 0) return 'this host allows no namespaces';
  if (spawnSync('nft', ['--version']).error) return 'nft is not installed';
  return false;
})();

/** These assert times or rates: on a machine that does something else as well they may need another attempt. */
const timed = /^(two-subflows|cut-|timeouts|out-of-descriptors|guard)/;

async function attempt(name: string): Promise<{ code: number | null; told: string }> {
  const child = spawn('unshare', [...unshare, process.execPath, scenarios, name], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let told = '';
  child.stdout.on('data', (data: Buffer) => (told += data.toString()));
  child.stderr.on('data', (data: Buffer) => (told += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, told };
}

for (const name of scenarioNames)
  test(`sockets: ${name}`, { skip: missing, timeout: 240_000 }, async (context) => {
    const attempts = timed.test(name) ? 3 : 1;
    for (let number = 1; ; number++) {
      const { code, told } = await attempt(name);
      for (const line of told.trim().split('\n')) if (line !== '') context.diagnostic(line);
      if (code !== 0 && number < attempts) {
        context.diagnostic(`attempt ${number} of ${attempts} failed`);
        continue;
      }
      assert.equal(code, 0, told);
      return;
    }
  });
