// SPDX-License-Identifier: BSD-2-Clause
/*
 * `npm test`: every check in the order in which a fault is cheapest to find, then one closing line
 * 'N passed, N failed'.
 *
 *   lint -> unit (TypeScript) -> core (C under sanitizers) -> lab (real clients)
 *
 * `npm test -- unit lab` runs only the named parts; `npm test -- lab=relay` only files whose name holds 'relay'.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  failures: string[];
}

const tally: Tally = { passed: 0, failed: 0, skipped: 0, failures: [] };

function testFiles(folder: string, part: string): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile() && entry.name.endsWith('.test.js') && entry.name.includes(part)) {
      found.push(join(entry.parentPath, entry.name));
    }
  }
  return found.sort();
}

/** Node's own runner over compiled test files, one process a file. */
async function nodeTests(files: string[], concurrency: number, timeoutMs: number): Promise<void> {
  if (files.length === 0) return;
  const stream = run({ files, concurrency, timeout: timeoutMs });
  // A file is itself a test in the events, with its own tests nested in it; only what a person wrote is counted.
  const isFile = (name: string): boolean => files.includes(name);
  stream.on('test:pass', (event) => {
    if (isFile(event.name) || event.details.type === 'suite') return;
    if (event.skip !== undefined && event.skip !== false) tally.skipped += 1;
    else tally.passed += 1;
  });
  stream.on('test:fail', (event) => {
    if (event.details.type === 'suite' && !isFile(event.name)) return;
    tally.failed += 1;
    tally.failures.push(event.name);
  });
  const printed = stream.compose(new spec());
  for await (const chunk of printed) process.stdout.write(chunk as Buffer);
}

/** A program that prints TAP ('ok 1 - name', 'not ok 2 - name') or, without any, counts as one test by its exit code. */
async function program(name: string, command: string, args: string[]): Promise<void> {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  let rest = '';
  let points = 0;
  let notOk = 0;
  const line = (text: string): void => {
    const match = /^(not )?ok\b\s*\d*\s*-?\s*(.*)$/.exec(text);
    if (!match) return;
    points += 1;
    if (/# *skip/i.test(text)) tally.skipped += 1;
    else if (match[1]) {
      notOk += 1;
      tally.failed += 1;
      tally.failures.push(`${name}: ${match[2]}`);
    } else tally.passed += 1;
  };
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    process.stdout.write(chunk);
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(line);
  });
  const status = await new Promise<number>((resolve) => {
    child.on('error', (error) => {
      process.stdout.write(`${name}: ${error.message}\n`);
      resolve(127);
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
  if (rest) line(rest);
  if (status !== 0 && notOk === 0) {
    tally.failed += 1;
    tally.failures.push(`${name}: exit status ${status}`);
  } else if (status === 0 && points === 0) tally.passed += 1;
}

const node = process.execPath;
const parts: Record<string, (filter: string) => Promise<void>> = {
  lint: async () => {
    await program('eslint', node, [join(root, 'node_modules/eslint/bin/eslint.js'), 'src', 'test']);
    await program('prettier', node, [
      join(root, 'node_modules/prettier/bin/prettier.cjs'),
      '--check',
      '--log-level=warn',
      'src',
      'test',
    ]);
  },
  unit: (filter) => nodeTests(testFiles(join(root, 'dist/test/unit'), filter), 2, 120_000),
  core: () => program('core', 'make', ['-s', `-j${availableParallelism()}`, '-C', 'test/core', 'check']),
  // One file at a time: each has a network of its own, but they share the processor with what they measure.
  lab: (filter) => nodeTests(testFiles(join(root, 'dist/test/lab'), filter), 1, 400_000),
};

async function main(): Promise<void> {
  const wanted = process.argv.slice(2).map((argument) => argument.split('=') as [string, string?]);
  const unknown = wanted.find(([name]) => !(name in parts));
  if (unknown) throw new Error(`no such part: ${unknown[0]} (there are: ${Object.keys(parts).join(', ')})`);
  const chosen = wanted.length > 0 ? wanted : Object.keys(parts).map((name) => [name] as [string, string?]);
  for (const [name, filter] of chosen) {
    const started = Date.now();
    process.stdout.write(`\n== ${name}\n`);
    await parts[name]!(filter ?? '');
    process.stdout.write(`== ${name}: ${((Date.now() - started) / 1000).toFixed(0)} s\n`);
  }
  if (tally.failures.length > 0)
    process.stdout.write(`\nfailed:\n${tally.failures.map((name) => `  ${name}\n`).join('')}`);
  process.stdout.write(
    `\n${tally.passed} passed, ${tally.failed} failed${tally.skipped > 0 ? `, ${tally.skipped} skipped` : ''}\n`,
  );
  process.exitCode = tally.failed > 0 ? 1 : 0;
}

await main();
