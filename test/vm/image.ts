// SPDX-License-Identifier: BSD-2-Clause

/** Builds what is tested (the kernel module, the C library, the test programs) and packs it with a userland into an image. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { controlSite } from './control.js';
import { nodeInGuest, stageConfigs, stageDriver } from './daemons.js';
import type { Tools, VmEnvironment } from './environment.js';
import { guardSite } from './guard.js';

/** A build or packing step that failed, with what it printed. */
export class StepError extends Error {
  constructor(step: string, output: string) {
    super(`${step} failed:\n${output.trim().split('\n').slice(-30).join('\n')}`);
    this.name = 'StepError';
  }
}

export function run(
  step: string,
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
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

/** Kernels the module must not load into, told apart from this one by nothing but __FreeBSD_version. */
function misfits(version: number): { name: string; version: number; linkerAgrees: boolean }[] {
  const major = Math.floor(version / 100_000);
  return [
    { name: 'older', version: (major - 1) * 100_000 + 3_000, linkerAgrees: false },
    { name: 'newer', version: version + 1_000, linkerAgrees: false },
    { name: 'next', version: (major + 1) * 100_000, linkerAgrees: false },
    // Without the dependency on the kernel that the linker looks at: the module itself has to refuse.
    { name: 'agreed', version: (major + 1) * 100_000, linkerAgrees: true },
  ];
}

/** Another tree of kernel sources: the same files, but for those that `edits` change; each is named by its directory and itself. */
function overlay(sysdir: string, root: string, edits: Record<string, (text: string) => string>): string {
  const sys = join(root, 'sys');
  mkdirSync(sys, { recursive: true });
  symlinkSync(join(dirname(sysdir), 'share'), join(root, 'share'));
  const directories = new Set(Object.keys(edits).map((name) => dirname(name)));
  for (const name of readdirSync(sysdir)) {
    if (!directories.has(name)) symlinkSync(join(sysdir, name), join(sys, name));
  }
  for (const directory of directories) {
    mkdirSync(join(sys, directory));
    for (const name of readdirSync(join(sysdir, directory))) {
      const from = join(sysdir, directory, name);
      const edit = edits[`${directory}/${name}`];
      if (edit === undefined) {
        symlinkSync(from, join(sys, directory, name));
        continue;
      }
      const before = readFileSync(from, 'utf8');
      const after = edit(before);
      if (after === before) throw new StepError(`editing ${name}`, 'what should be replaced is not there');
      writeFileSync(join(sys, directory, name), after);
    }
  }
  return sys;
}

const VERSION = /^#define\s+__FreeBSD_version\s+(\d+)/m;

/** Builds modules for kernels that are not the one that runs. */
async function buildMisfits(
  modules: string,
  environment: VmEnvironment,
  tools: Tools,
  temporary: string,
  directory: string,
): Promise<void> {
  const header = readFileSync(join(environment.sysdir, 'sys', 'param.h'), 'utf8');
  const version = Number(VERSION.exec(header)?.[1]);
  for (const misfit of misfits(version)) {
    const sysdir = overlay(environment.sysdir, join(temporary, `sys-${misfit.name}`), {
      'sys/param.h': (text) => text.replace(VERSION, `#define __FreeBSD_version ${misfit.version}`),
      ...(misfit.linkerAgrees
        ? {
            'sys/module.h': (text: string) =>
              text.replace(/(MODULE_DEPEND\(name, kernel,)[^;]*/g, `$1 1, ${version}, 9999999)`),
          }
        : {}),
    });
    const other = { ...environment, sysdir };
    mkdirSync(join(directory, 'misfit', misfit.name), { recursive: true });
    for (const name of misfit.linkerAgrees ? ['lisp', 'tproxy', 'mptcp'] : ['lisp']) {
      const objects = join(temporary, `obj-${misfit.name}-${name}`);
      const module = await buildModule(join(modules, name), name, other, tools, objects);
      copyFileSync(module, join(directory, 'misfit', misfit.name, `${name}.ko`));
    }
    writeFileSync(join(directory, 'misfit', misfit.name, 'version'), `${misfit.version}\n`);
  }
  // The same version, but another TCP: a control block with one member more.
  const layout = overlay(environment.sysdir, join(temporary, 'sys-layout'), {
    'netinet/tcp_var.h': (text) =>
      text.replace(/^struct tcpcb \{$/m, 'struct tcpcb {\n\tuint64_t amptcp_misfit[8];'),
  });
  const objects = join(temporary, 'obj-layout');
  const module = await buildModule(
    join(modules, 'mptcp'),
    'mptcp',
    { ...environment, sysdir: layout },
    tools,
    objects,
  );
  mkdirSync(join(directory, 'misfit', 'layout'), { recursive: true });
  copyFileSync(module, join(directory, 'misfit', 'layout', 'mptcp.ko'));
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

/** binding.gyp is a Python literal that JavaScript takes too, but for its comments. */
function readBinding(file: string): {
  defines: string[];
  sources: string[];
  include_dirs: string[];
} {
  const text = readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, '');
  interface Part {
    defines?: string[];
    sources?: string[];
    include_dirs?: string[];
    conditions?: [string, Part][];
  }
  const target = (runInNewContext(`(${text})`) as { targets: [Part] }).targets[0];
  const parts = [target];
  for (const [condition, part] of target.conditions ?? []) {
    if (condition.includes('"freebsd"')) parts.push(part);
  }
  return {
    defines: parts.flatMap((part) => part.defines ?? []),
    sources: parts.flatMap((part) => part.sources ?? []),
    include_dirs: parts.flatMap((part) => part.include_dirs ?? []),
  };
}

/**
 * The addon for FreeBSD, from binding.gyp's own lists, against the sysroot: every warning is an error. Returns how many
 * files it has.
 */
export async function buildAddon(
  project: string,
  temporary: string,
  environment: VmEnvironment,
  tools: Tools,
): Promise<number> {
  const directory = join(project, 'src', 'native');
  const modules = join(project, 'node_modules');
  const binding = readBinding(join(directory, 'binding.gyp'));
  const list = (names: string[]): string[] => names.filter((name) => !name.startsWith('<!'));
  const core = join(project, 'kmod', 'core');
  const sources = [
    ...list(binding.sources).map((name) => join(directory, name)),
    ...readdirSync(core)
      .filter((name) => /^lisp_.*\.c$/.test(name))
      .map((name) => join(core, name)),
  ];
  const objects = join(temporary, 'obj-addon');
  mkdirSync(objects);
  const target = ['--target=x86_64-unknown-freebsd14.0', `--sysroot=${environment.sysroot}`];
  const flags = [
    ...target,
    ...['-fPIC', '-O2', '-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter', '-fvisibility=hidden'],
    ...binding.defines.map((define) => `-D${define}`),
    ...[join(modules, 'node-addon-api'), join(modules, 'node-api-headers', 'include')].map(
      (path) => `-I${path}`,
    ),
    ...list(binding.include_dirs).map((path) => `-I${join(directory, path)}`),
  ];
  const outputs: string[] = [];
  for (const source of sources) {
    const output = join(objects, `${outputs.length}.o`);
    const language = source.endsWith('.cc')
      ? ['-x', 'c++', '-std=c++17', '-stdlib=libc++', '-fexceptions']
      : ['-std=c11'];
    await run(`compiling ${source} for FreeBSD`, tools.clang, [
      ...language,
      ...flags,
      '-c',
      source,
      '-o',
      output,
    ]);
    outputs.push(output);
  }
  // What these headers may lack.
  const splice = ['-include', join(project, 'test', 'vm', 'so_splice.h')];
  const joined = join(objects, 'join.o');
  await run('compiling join.c with SO_SPLICE', tools.clang, [
    ...['-std=c11', ...flags, ...splice, '-c', join(directory, 'freebsd', 'join.c'), '-o', joined],
  ]);
  await run('linking the addon for FreeBSD', tools.clang, [
    ...[...target, `--ld-path=${tools.lld}`, '-shared', '-o', join(objects, 'amptcp.node'), ...outputs],
    ...['-lc++', '-lcxxrt', '-lm'],
  ]);
  return sources.length;
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

/** A code block of README.md: the one that follows the line with this file's name. */
function shownInReadme(project: string, file: string): string {
  const text = readFileSync(join(project, 'README.md'), 'utf8');
  const section = text.slice(text.indexOf('\n## On FreeBSD'));
  const named = section.indexOf(`\n\`${file}\``);
  const block = named === -1 ? undefined : /\n```\w*\n([^]*?)\n```/.exec(section.slice(named))?.[1];
  if (block === undefined) throw new StepError('reading README.md', `it shows no ${file}`);
  return `${block}\n`;
}

/** The package as the port stages it, without what only Node.js would read, and a stand-in for Node.js. */
async function stagePackage(project: string, guest: string, directory: string): Promise<void> {
  const destination = join(directory, 'package');
  const script = join(project, 'src', 'setup', 'stage.mjs');
  await run('staging the package', process.execPath, [script, '--destdir', destination]);
  rmSync(join(destination, 'usr', 'local', 'lib', 'amptcp', 'node_modules'), { recursive: true });
  const node = join(destination, 'usr', 'local', 'bin', 'node');
  copyFileSync(join(guest, 'node-standin'), node);
  chmodSync(node, 0o755);
  mkdirSync(join(directory, 'readme'));
  for (const file of ['/etc/rc.conf', '/etc/pf.conf', '/usr/local/etc/amptcpd.toml'])
    writeFileSync(join(directory, 'readme', basename(file)), shownInReadme(project, file));
}

/** Scenarios with whole daemons. */
const SITES = { guard: guardSite, control: controlSite };

/** Those that drive a daemon themselves. */
export const DRIVEN = ['gateway', 'client-source'];

/** The addon as the port builds it. */
export async function buildPortAddon(
  project: string,
  output: string,
  environment: VmEnvironment,
  tools: Tools,
): Promise<void> {
  const target = `--target=x86_64-unknown-freebsd14.0 --sysroot=${environment.sysroot}`;
  await run(
    'building the addon by the script of the port',
    'sh',
    [join(project, 'src', 'native', 'freebsd', 'build.sh'), output],
    {
      CC: `${tools.clang} ${target}`,
      CXX: `${tools.clang.replace(/clang(-\d+)?$/, 'clang++$1')} ${target} -stdlib=libc++`,
      LDFLAGS: `--ld-path=${tools.lld}`,
    },
  );
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
  scenarios: string[],
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
    // Built with the debug kernel's options it does not fit the one without them; without any it is built for GENERIC.
    const plain: VmEnvironment = { ...environment };
    delete plain.kernelBuild;
    if (environment.kernelBuildWithoutDebug) plain.kernelBuild = environment.kernelBuildWithoutDebug;
    mkdirSync(join(directory, 'plain'));
    for (const name of ['lisp', 'mptcp'])
      copyFileSync(
        await buildModule(
          join(project, 'kmod', name),
          name,
          plain,
          tools,
          join(temporary, `obj-plain-${name}`),
        ),
        join(directory, 'plain', `${name}.ko`),
      );
  }
  if (scenarios.includes('kernel')) {
    await buildMisfits(join(project, 'kmod'), environment, tools, temporary, directory);
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
  const multipath = join(project, 'kmod', 'mptcp');
  copyFileSync(
    await buildModule(multipath, 'mptcp', environment, tools, join(temporary, 'obj-mptcp')),
    join(directory, 'mptcp.ko'),
  );
  const control = ['control.c', 'lispctl.c'].map((name) => join(library, name));
  const includes = [abi, proxy, multipath, library];
  const build = (name: string, sources: string[], libraries: string[]): Promise<void> =>
    buildProgram(sources, includes, libraries, join(directory, name), environment, tools);
  await build('flow', [join(programs, 'flow.c')], ['md']);
  await build('lisp', [join(programs, 'lisp.c'), ...control], []);
  await build('fuzz', [join(programs, 'fuzz.c')], []);
  await build('cost', [join(programs, 'cost.c')], []);
  await build('mptcp', [join(programs, 'mptcp.c')], []);
  await build(
    'mptcpctl',
    [join(programs, 'mptcpctl.c'), ...['control.c', 'mptcpctl.c'].map((name) => join(library, name))],
    [],
  );
  await run(
    'building libmptcp_preload.so',
    'sh',
    [join(project, 'src', 'preload', 'build.sh'), join(directory, 'libmptcp_preload.so')],
    {
      CC: `${tools.clang} --target=x86_64-unknown-freebsd14.0 --sysroot=${environment.sysroot}`,
      LDFLAGS: `--ld-path=${tools.lld}`,
    },
  );
  await build('inject', [join(programs, 'inject.c')], []);
  const interception = ['control.c', 'tproxyctl.c', 'divert.c'].map((name) => join(library, name));
  await build('tproxy', [join(programs, 'tproxy.c'), ...interception], []);
  const common = join(project, 'src', 'native', 'common');
  await buildProgram(
    [
      join(programs, 'agent.c'),
      ...[
        ...[
          'addresses',
          'anchor',
          'connector',
          'control',
          'descriptors',
          'divert',
          'join',
          'lispctl',
          'mptcpctl',
          'poller',
        ],
        'tproxyctl',
      ].map((name) => join(library, `${name}.c`)),
      ...['descriptors', 'errno_name', 'listener', 'relay'].map((name) => join(common, `${name}.c`)),
    ],
    [...includes, common],
    ['pthread'],
    join(directory, 'agent'),
    environment,
    tools,
  );
  await buildProgram(
    [
      join(programs, 'privileges.c'),
      ...['anchor', 'control', 'descriptors', 'divert', 'lispctl', 'tproxyctl'].map((name) =>
        join(library, `${name}.c`),
      ),
      join(common, 'descriptors.c'),
    ],
    [...includes, common],
    [],
    join(directory, 'privileges'),
    environment,
    tools,
  );
  if (scenarios.includes('rc')) {
    await stagePackage(project, guest, directory);
  }
  if (
    nodeInGuest(environment) &&
    [...Object.keys(SITES), ...DRIVEN].some((name) => scenarios.includes(name))
  ) {
    const addon = join(temporary, 'native.node');
    await buildPortAddon(project, addon, environment, tools);
    const script = join(project, 'src', 'setup', 'stage.mjs');
    // Beside that of the scenario rc, which has a stand-in for Node.js in it.
    const destination = join(directory, 'native', 'package');
    await run('staging the package', process.execPath, [script, '--destdir', destination, '--addon', addon]);
    for (const [name, site] of Object.entries(SITES)) stageConfigs(directory, name, site);
    stageDriver(project, directory, DRIVEN);
  }
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
