// SPDX-License-Identifier: BSD-2-Clause

/** The lab itself: the main job's figures, and that nothing outlives it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  exitStatus,
  jsonReport,
  labDown,
  labEnter,
  labUp,
  runLab,
  tableReport,
} from '../../src/lab/index.js';
import { Lab } from '../../src/lab/lab.js';
import { isAlive, run, waitFor } from '../../src/lab/process.js';
import { listLabs, readState } from '../../src/lab/registry.js';
import { skip } from './support.js';

const MEGABYTE = 1_000_000;

/** Rates, of both directions, are worth what the machine has left: an attempt that was disturbed is followed by another. */
const ATTEMPTS = 3;

describe('the main job', { skip }, () => {
  const bytes = 50 * MEGABYTE;
  const cases = [
    { title: 'two providers', options: { bytes }, ratio: 1.85 },
    { title: 'two providers, IPv6', options: { bytes, ipv6: true }, ratio: 1.8 },
    { title: 'three providers', options: { bytes, rlocs: 3 }, ratio: 2.7 },
  ];
  for (const { title, options, ratio } of cases) {
    it(`${title}: at least ${ratio} times one of them`, async (context) => {
      const slowest: number[] = [];
      do {
        const report = await runLab({ ...options, progress: null });
        context.diagnostic(JSON.stringify(jsonReport(report)));
        assert.deepEqual(report.failures, []);
        assert.equal(exitStatus(report), 0);
        assert.equal(report.simulated, false);
        assert.match(tableReport(report), /through the gateway/);
        for (const part of [report.up, report.down]) {
          assert.equal(part.sha256Match, true);
          assert.equal(part.subflows, report.rlocs);
          assert.equal(part.paths.length, report.rlocs);
          for (const path of part.paths) {
            assert.ok(path.bytes > report.bytes / report.rlocs / 2, `${path.rloc}: ${path.bytes}`);
          }
        }
        slowest.push(Math.min(report.up.ratio, report.down.ratio));
      } while (slowest.at(-1)! < ratio && slowest.length < ATTEMPTS);
      assert.ok(slowest.at(-1)! >= ratio, `the slower direction reached ${slowest.join(', ')}`);
    });
  }
});

describe('a lab', { skip }, () => {
  it('stands until it is taken down, and does not touch the host', async () => {
    const before = (await run('ip', ['-br', 'link'])).stdout;
    const standing = await labUp({ progress: null });
    try {
      await assert.rejects(labUp({ progress: null }), /stands already/);
      assert.ok(standing.sockets.every(({ path }) => existsSync(path)));
      const [program, ...args] = labEnter('client', ['ip', '-br', 'addr']);
      assert.match((await run(program!, args)).stdout, /10\.10\.0\.2/);
      assert.throws(() => labEnter('nowhere'), /no host 'nowhere'/);
      assert.equal((await run('ip', ['-br', 'link'])).stdout, before);
    } finally {
      assert.equal(await labDown(), true);
    }
    assert.equal(await labDown(), false);
    assert.equal(existsSync(standing.directory), false);
    assert.throws(() => labEnter('client'), /no lab stands/);
  });

  it('ends with the process that made it, even killed by -9, and the next one cleans its folder', async () => {
    const module = fileURLToPath(new URL('../../src/lab/lab.js', import.meta.url));
    const script = `const { Lab } = await import(${JSON.stringify(module)});
      const lab = await Lab.create({}); process.stdout.write(lab.name + '\\n'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const name = await new Promise<string>((resolve) =>
      child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString().trim())),
    );
    const state = readState(name);
    assert.ok(isAlive(state?.holder));
    child.kill('SIGKILL');
    await waitFor('the holder to end', () => !isAlive(state?.holder));
    assert.ok(readState(name), 'the folder is left to be cleaned');
    assert.equal(
      listLabs().some((lab) => lab.name === name),
      false,
    );
    assert.equal(readState(name), undefined);
  });

  it('several stand side by side', async () => {
    const labs = await Promise.all([Lab.create({}), Lab.create({})]);
    try {
      for (const lab of labs) {
        const { stdout } = await lab.run('client', ['ip', 'route', 'get', '198.18.1.10']);
        assert.match(stdout, /via 10\.10\.0\.1/);
      }
      assert.notEqual(labs[0]!.directory, labs[1]!.directory);
    } finally {
      await Promise.all(labs.map((lab) => lab.close()));
    }
  });
});
