// SPDX-License-Identifier: BSD-2-Clause

/** The wire between two network stacks of the guest's: a bridge of the first two taps, and what wire.ts tells of it. */
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Wire } from './wire.js';

const ip = (...args: string[]): unknown => execFileSync('ip', args, { stdio: 'pipe' });
ip('link', 'add', 'bridge', 'type', 'bridge');
for (const name of ['vm0', 'vm1']) ip('link', 'set', name, 'master', 'bridge');
ip('link', 'set', 'bridge', 'up');

const wire = new Wire('vm0');
process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    void (wire.answer(line) ?? Promise.reject(new Error(`unknown command ${line}`)))
      .catch((error: unknown) => `failed ${(error as Error).message.trim().replaceAll('\n', ' ')}`)
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    wire.close();
    process.exit(0);
  });
