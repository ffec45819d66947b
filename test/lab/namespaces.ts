// SPDX-License-Identifier: BSD-2-Clause

/** Programs of a test in namespaces of their own: network, mounts and processes, gone with the program. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';

const FLAGS = [
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']),
];

const works = (...command: string[]): boolean => spawnSync('unshare', [...FLAGS, ...command]).status === 0;

/** Why a test cannot run here, for `{ skip }`; false when it can. */
export function missing(programs: string[], needs: { tun?: boolean } = {}): string | false {
  if (process.platform !== 'linux') return 'Linux only';
  if (!works('true')) return 'this host allows no namespaces';
  if (needs.tun && !works('ip', 'tuntap', 'add', 'mode', 'tun')) return 'no TUN devices here (/dev/net/tun)';
  const absent = programs.filter((program) => spawnSync(program, ['--version']).error);
  return absent.length > 0 && `not installed: ${absent.join(', ')}`;
}

export interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

export async function runIsolated(...command: string[]): Promise<Outcome> {
  const child = spawn('unshare', [...FLAGS, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  const told = { out: '', err: '' };
  child.stdout.on('data', (data: Buffer) => (told.out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (told.err += data.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, ...told };
}

/** One scenario of a program that ends with 0 when all was well. What it tells is in the test's diagnostics. */
export async function scenario(
  context: TestContext,
  program: string,
  args: string[],
  /** More than one only where times or rates are asserted, which a busy machine can spoil. */
  attempts = 1,
): Promise<void> {
  for (let number = 1; ; number++) {
    const { code, out, err } = await runIsolated(process.execPath, program, ...args);
    for (const line of `${out}${err}`.trim().split('\n')) if (line !== '') context.diagnostic(line);
    if (code === 0) return;
    if (number === attempts) assert.equal(code, 0, `${out}${err}`);
    context.diagnostic(`attempt ${number} of ${attempts} failed`);
  }
}
