// SPDX-License-Identifier: BSD-2-Clause

/**
 * `npm run test:vm`: the kernel module on a running FreeBSD. See environment.ts for the variables, README.md for how to set
 * them. Prints TAP and closes with a line 'N passed, N failed'. Arguments choose scenarios by name.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeInGuest } from './daemons.js';
import { findTools, readEnvironment } from './environment.js';
import type { Tools, VmEnvironment } from './environment.js';
import { buildAddon, DRIVEN, prepare, StepError } from './image.js';
import type { Stage } from './image.js';
import { boot, diskMachine, imageConsole, killAll, machine } from './qemu.js';
import { buildPorts } from './ports.js';
import { scenarios } from './scenarios.js';
import type { Scenario, ScenarioContext } from './scenarios.js';

/** dist/test/vm/run.js -> the project's directory. */
const project = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

class Tap {
  passed = 0;
  failed = 0;

  result(ok: boolean, name: string): void {
    const number = this.passed + this.failed + 1;
    console.log(`${ok ? 'ok' : 'not ok'} ${number} - ${name}`);
    if (ok) {
      this.passed++;
    } else {
      this.failed++;
    }
  }

  note(text: string): void {
    console.log(`# ${text}`);
  }

  close(): void {
    console.log(`1..${this.passed + this.failed}`);
    console.log(`${this.passed} passed, ${this.failed} failed`);
  }
}

async function runScenario(
  scenario: Scenario,
  environment: VmEnvironment,
  tools: Tools,
  stage: Stage,
  tap: Tap,
): Promise<void> {
  const { target } = environment;
  const kernel =
    target.kind === 'image'
      ? undefined
      : ((scenario.debug ? target.kernel : target.kernelWithoutDebug) ?? 'missing');
  if (kernel === 'missing') {
    tap.note(`${scenario.name}: skipped, FREEBSD_KERNEL_NODEBUG names no kernel without debug options`);
    if (process.env['EXPECT_FREEBSD'] === '1') {
      tap.result(false, `${scenario.name}: skipped`);
    }
    return;
  }
  const nic = target.kind === 'image' ? 'virtio-net-pci' : 'virtio-net-device';
  const context: ScenarioContext = { project, environment, tools, stage, nic };
  const host = await scenario.host?.(context);
  if (host && 'skip' in host) {
    tap.note(`${scenario.name}: skipped, ${host.skip}`);
    if (process.env['EXPECT_FREEBSD'] === '1') {
      tap.result(false, `${scenario.name}: skipped`);
    }
    return;
  }
  const started = Date.now();
  tap.note(`${scenario.name}: ${scenario.title}`);
  let results = 0;
  try {
    const prefix = host?.prefix ?? [];
    const kenv = { 'amptcp.scenario': scenario.name, ...scenario.kenv };
    // Nobody outside takes part in what is driven within the guest: its clock need not follow the host's.
    const inside = nodeInGuest(environment) && DRIVEN.includes(scenario.name);
    const icount = scenario.icount ?? (inside ? 0 : undefined);
    const options = {
      image: stage.image,
      kenv,
      // Two processes with a JavaScript engine each want some.
      memoryMb: scenario.memoryMb ?? (nodeInGuest(environment) ? 2048 : 1024),
      cpus: scenario.cpus ?? 1,
      ...(icount === undefined ? {} : { icount, waits: scenario.waits ?? false }),
      devices: host?.devices ?? [],
    };
    const args =
      target.kind === 'image'
        ? diskMachine({ ...options, disk: target.image, format: target.format, firmware: target.firmware })
        : machine({ ...options, kernel: kernel ?? '' });
    const [qemu = tools.qemu, ...rest] = [...prefix, tools.qemu, ...args];
    const result = await boot({
      qemu,
      args: rest,
      timeoutMs: scenario.timeoutMs,
      ...(target.kind === 'image'
        ? {
            onPrompt: imageConsole(scenario.name, scenario.kenv ?? {}, (text) => {
              tap.note(`${scenario.name}: ${text}`);
            }),
          }
        : {}),
      onLine(line) {
        const match = /^(ok|not ok) - (.*)$/.exec(line);
        if (match) {
          results++;
          tap.result(match[1] === 'ok', `${scenario.name}: ${match[2] ?? ''}`);
        } else if (line.startsWith('# ')) {
          console.log(line);
        } else if (process.env['VM_CONSOLE']) {
          console.log(`# | ${line}`);
        }
      },
      onRequest(words, answer) {
        if (host?.request) {
          void host.request(words).then(answer, (error: unknown) => {
            answer(`failed ${String(error)}`);
          });
        } else {
          answer('failed no host side');
        }
      },
    });
    for (const line of result.complaints) {
      tap.note(`the kernel complained: ${line}`);
    }
    if (!result.finished || result.timedOut || result.complaints.length > 0) {
      for (const line of result.tail) {
        tap.note(`| ${line}`);
      }
    }
    tap.result(result.finished && !result.timedOut && results > 0, `${scenario.name}: runs to its end`);
    tap.result(result.complaints.length === 0, `${scenario.name}: the kernel has nothing to complain of`);
  } finally {
    await host?.close();
  }
  tap.note(`${scenario.name}: ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

async function main(): Promise<number> {
  const wanted = readEnvironment(process.env);
  if ('skip' in wanted) {
    const expected = process.env['EXPECT_FREEBSD'] === '1';
    console.log(`1..0 # skip ${wanted.skip}`);
    return expected ? 1 : 0;
  }
  if ('fail' in wanted) {
    console.error(`test:vm: ${wanted.fail}`);
    return 2;
  }
  const found = findTools(process.env['PATH'] ?? '');
  if ('missing' in found) {
    console.error(`test:vm: missing tools; on Debian: apt install ${found.missing.join(' ')}`);
    return 2;
  }
  const names = process.argv.slice(2);
  const chosen = names.length === 0 ? scenarios : scenarios.filter(({ name }) => names.includes(name));
  if (chosen.length === 0 && !names.includes('addon') && !names.includes('ports')) {
    console.error(`test:vm: no such scenario; there are ${scenarios.map(({ name }) => name).join(', ')}`);
    return 2;
  }
  const tap = new Tap();
  const temporary = mkdtempSync(join(tmpdir(), 'amptcp-vm-'));
  const clean = (): void => {
    killAll();
    rmSync(temporary, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      clean();
      process.exit(128);
    });
  }
  try {
    const stage = await prepare(
      project,
      temporary,
      wanted.run,
      found.tools,
      chosen.map(({ name }) => name),
    );
    tap.result(true, 'module and test programs build without a warning');
    if (chosen.length === scenarios.length || names.includes('addon')) {
      const files = await buildAddon(project, temporary, wanted.run, found.tools);
      tap.result(true, `the addon's ${files} files compile and link for FreeBSD without a warning`);
    }
    if (chosen.length === scenarios.length || names.includes('ports')) {
      tap.result(true, `ports: ${await buildPorts(project, temporary, wanted.run, found.tools)}`);
    }
    for (const scenario of chosen) {
      await runScenario(scenario, wanted.run, found.tools, stage, tap);
    }
  } catch (error) {
    if (!(error instanceof StepError)) {
      throw error;
    }
    for (const line of error.message.split('\n')) {
      tap.note(line);
    }
    tap.result(false, 'module and test programs build without a warning');
  } finally {
    clean();
  }
  tap.close();
  return tap.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
