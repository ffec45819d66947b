// SPDX-License-Identifier: BSD-2-Clause

/** Builds what is tested (the kernel module, the C library, the test programs) and packs it with a userland into an image. */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Tools, VmEnvironment } from './environment.js';

/** A build or packing step that failed, with what it printed. */
export class StepError extends Error {
  constructor(step: string, output: string) {
    super(`${step} failed:\n${output.trim().split('\n').slice(-30).join('\n')}`);
    this.name = 'StepError';
  }
}

function run(step: string, command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString('utf8');
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', (error) => {
      reject(new StepError(step, error.message));
    });
    child.on('close', (code) => {
      if (code === 0) {
        resolve(output);
      } else {
        reject(new StepError(step, output));
      }
    });
  });
}

/** '-19' of clang-19; nothing for an unversioned tool. */
const suffixOf = (tool: string): string => /(-\d+)$/.exec(tool)?.[1] ?? '';

/** Builds a kernel module out of tree, into `objects`. */
export async function buildModule(
  source: string,
  name: string,
  environment: VmEnvironment,
  tools: Tools,
  objects: string,
): Promise<string> {
  mkdirSync(objects, { recursive: true });
  const args = [
    ...['-m', join(dirname(environment.sysdir), 'share', 'mk'), '-C', source],
    `SYSDIR=${environment.sysdir}`,
    `CLANG=${tools.clang}`,
    `LLD=${tools.lld}`,
    `LLVM_SUFFIX=${suffixOf(tools.llvm)}`,
    ...(environment.kernelBuild ? [`KERNBUILDDIR=${environment.kernelBuild}`] : []),
    `${name}.ko`,
  ];
  await run(`building ${name}.ko`, tools.bmake, args, { MAKEOBJDIR: objects });
  return join(objects, `${name}.ko`);
}

/** Compiles one test program for the guest. */
export async function buildProgram(
  sources: string[],
  includes: string[],
  libraries: string[],
  output: string,
  environment: VmEnvironment,
  tools: Tools,
): Promise<void> {
  const args = [
    ...['--target=x86_64-unknown-freebsd14.0', `--sysroot=${environment.sysroot}`, `--ld-path=${tools.lld}`],
    ...['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror'],
    ...includes.map((directory) => `-I${directory}`),
    ...['-o', output, ...sources],
    ...libraries.map((library) => `-l${library}`),
  ];
  await run(`compiling ${output}`, tools.clang, args);
}

export interface Image {
  /** The file for QEMU's drive. */
  file: string;
}

/**
 * Packs a read-only cd9660 image: the root tree, with /amptcp and /etc/rc of ours laid over it. Read-only means that runs
 * cannot influence each other, and that there is nothing to clean up in it.
 */
export async function packImage(root: string, stage: string, file: string, tools: Tools): Promise<Image> {
  const grafts = [`/=${root}`, `/amptcp=${stage}`];
  const rc = join(stage, 'rc');
  if (existsSync(rc)) {
    grafts.push(`/etc/rc=${rc}`);
  }
  const args = ['-as', 'mkisofs', '-quiet', '-R', '-o', file, '-graft-points', ...grafts];
  await run('packing the root image', tools.xorriso, args);
  return { file };
}

export interface Stage {
  directory: string;
  image: string;
}

/** Everything of the guest's: module, programs, scripts. */
export async function prepare(
  project: string,
  temporary: string,
  environment: VmEnvironment,
  tools: Tools,
): Promise<Stage> {
  const directory = join(temporary, 'stage');
  const guest = join(project, 'test', 'vm', 'guest');
  const programs = join(guest, 'programs');
  const library = join(project, 'src', 'native', 'freebsd');
  const abi = join(project, 'kmod', 'lisp');
  mkdirSync(directory, { recursive: true });
  const module = await buildModule(abi, 'lisp', environment, tools, join(temporary, 'obj-lisp'));
  copyFileSync(module, join(directory, 'lisp.ko'));
  if (environment.kernelBuild) {
    // Built with the debug kernel's options it does not fit the one without them.
    const plain: VmEnvironment = { ...environment };
    delete plain.kernelBuild;
    mkdirSync(join(directory, 'plain'));
    copyFileSync(
      await buildModule(abi, 'lisp', plain, tools, join(temporary, 'obj-plain')),
      join(directory, 'plain', 'lisp.ko'),
    );
  }
  const chop = await buildModule(
    join(guest, 'chop'),
    'chop',
    environment,
    tools,
    join(temporary, 'obj-chop'),
  );
  copyFileSync(chop, join(directory, 'chop.ko'));
  const proxy = join(project, 'kmod', 'tproxy');
  copyFileSync(
    await buildModule(proxy, 'tproxy', environment, tools, join(temporary, 'obj-tproxy')),
    join(directory, 'tproxy.ko'),
  );
  const control = ['control.c', 'lispctl.c'].map((name) => join(library, name));
  const includes = [abi, proxy, library];
  const build = (name: string, sources: string[], libraries: string[]): Promise<void> =>
    buildProgram(sources, includes, libraries, join(directory, name), environment, tools);
  await build('flow', [join(programs, 'flow.c')], ['md']);
  await build('lisp', [join(programs, 'lisp.c'), ...control], []);
  await build('fuzz', [join(programs, 'fuzz.c')], []);
  await build('cost', [join(programs, 'cost.c')], []);
  await build('inject', [join(programs, 'inject.c')], []);
  const interception = ['control.c', 'tproxyctl.c', 'divert.c'].map((name) => join(library, name));
  await build('tproxy', [join(programs, 'tproxy.c'), ...interception], []);
  const common = join(project, 'src', 'native', 'common');
  await buildProgram(
    [
      join(programs, 'agent.c'),
      ...['connector', 'descriptors', 'divert', 'lispctl', 'poller', 'tproxyctl'].map((name) =>
        join(library, `${name}.c`),
      ),
      ...['descriptors', 'errno_name', 'listener', 'relay'].map((name) => join(common, `${name}.c`)),
    ],
    [...includes, common],
    ['pthread'],
    join(directory, 'agent'),
    environment,
    tools,
  );
  for (const name of readdirSync(guest)) {
    if (name === 'rc' || name.endsWith('.sh')) {
      copyFileSync(join(guest, name), join(directory, name));
    }
  }
  const image = join(temporary, 'root.iso');
  if (environment.target.kind === 'tree') {
    await packImage(environment.target.root, directory, image, tools);
  } else {
    // An image has a userland of its own and mounts this beside it.
    const args = ['-as', 'mkisofs', '-quiet', '-R', '-V', 'AMPTCP', '-o', image, directory];
    await run('packing the test image', tools.xorriso, args);
  }
  return { directory, image };
}
