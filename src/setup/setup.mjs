#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause
/*
 * Makes a fresh clone runnable: npm packages from the lock file, the compiled TypeScript, the native addon, and the
 * system packages a task needs. Plain JavaScript on Node's own modules, because it runs before anything is installed.
 *
 *   node src/setup/setup.mjs --for lab|test|vm     everything that task needs
 *   node src/setup/setup.mjs --native-only         just the addon
 *
 * Each step is skipped when its inputs have not changed since it last succeeded (dist/.setup.json holds their hashes),
 * so that a second run costs well under a second. All it prints goes to stderr: stdout belongs to the task (--json).
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const statePath = join(root, 'dist', '.setup.json');
const log = (line) => process.stderr.write(`${line}\n`);

/** What each task runs: a program, and the package that has it. */
const TOOLS = {
  addon: { 'g++': 'g++', make: 'make', python3: 'python3' },
  lab: {
    nft: 'nftables',
    ip: 'iproute2',
    curl: 'curl',
    iperf3: 'iperf3',
    unshare: 'util-linux',
    kill: 'procps',
    sysctl: 'procps',
  },
  test: { tshark: 'tshark', clang: 'clang', mandoc: 'mandoc', ethtool: 'ethtool', ping: 'iputils-ping' },
  vm: {},
};

class SetupError extends Error {}

function which(program) {
  const path = `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  for (const folder of path.split(delimiter)) {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      // not here; the next folder may have it
    }
  }
  return false;
}

function run(what, command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    ...options,
  });
  if (result.error || result.status !== 0) {
    const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n').slice(-40).join('\n');
    throw new SetupError(
      `${what} failed (${command} ${args.join(' ')}):\n${result.error?.message ?? output}`,
    );
  }
}

function hashFiles(paths) {
  const hash = createHash('sha256');
  for (const path of paths)
    hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
  return hash.digest('hex');
}

/** Puts a folder in the place of another; there is no time at which neither is there for longer than two renames take. */
function exchange(fresh, place) {
  const old = `${place}.old`;
  rmSync(old, { recursive: true, force: true });
  if (existsSync(place)) renameSync(place, old);
  renameSync(fresh, place);
  rmSync(old, { recursive: true, force: true });
}

const LOCK_MS = 20 * 60_000;

/** One setup at a time in this tree: two would build into the same folders. */
function alone(work) {
  const path = join(root, 'dist', '.setup.lock');
  mkdirSync(dirname(path), { recursive: true });
  const end = Date.now() + LOCK_MS;
  for (let said = false; ;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = lockHolder(path);
    if (holder === undefined) continue;
    if (Date.now() > end) throw new SetupError(`another setup (pid ${holder}) does not end; remove ${path}`);
    if (!said) log(`setup: waiting for another one (pid ${holder})`);
    said = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  try {
    return work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** Who has the lock; undefined: nobody any more. What a killed setup left behind is removed. */
function lockHolder(path) {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    const fresh = Date.now() - statSync(path).mtimeMs < LOCK_MS;
    // It is empty between its making and its writing.
    if (pid === 0 && fresh) return 0;
    try {
      process.kill(pid, 0);
      if (fresh) return pid;
    } catch (error) {
      if (error.code === 'EPERM' && fresh) return pid;
    }
    rmSync(path, { force: true });
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return undefined;
}

function filesBelow(folder, wanted) {
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules' && entry.name !== 'build') found.push(...filesBelow(path, wanted));
    } else if (wanted.test(entry.name)) found.push(path);
  }
  return found.sort();
}

function systemPackages(tasks) {
  const missing = new Set();
  for (const task of tasks) {
    for (const [program, name] of Object.entries(TOOLS[task])) if (!which(program)) missing.add(name);
  }
  if (missing.size === 0) return;
  const names = [...missing];
  if (process.platform === 'freebsd') {
    throw new SetupError(`missing: ${names.join(' ')}; type: pkg install ${names.join(' ')}`);
  }
  const command = `apt-get install -y --no-install-recommends ${names.join(' ')}`;
  if (!which('apt-get'))
    throw new SetupError(`missing programs; install these packages (Debian's names): ${names.join(' ')}`);
  if (process.getuid?.() !== 0) throw new SetupError(`missing: ${names.join(' ')}; type: sudo ${command}`);
  log(`setup: installing ${names.join(' ')}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const quiet = ['-qq', '-o', 'Dpkg::Use-Pty=0', '-o', 'DPkg::Lock::Timeout=120'];
  run('updating the package lists', 'apt-get', ['update', ...quiet], { env: environment });
  run('installing packages', 'apt-get', ['install', '-y', '--no-install-recommends', ...quiet, ...names], {
    env: environment,
  });
}

/**
 * node-gyp wants Node's own headers and would download them. The addon uses nothing but Node-API, whose headers come as an
 * npm package (binding.gyp includes them), so all that node-gyp needs is its settings: a folder of two small files, and not
 * below the project, because make splits a path with a space in it.
 */
function buildAddon() {
  const gyp = join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
  const nodeFolder = mkdtempSync(join(tmpdir(), 'amptcp-node-'));
  const include = join(nodeFolder, 'include', 'node');
  const settings = {
    target_defaults: {
      cflags: ['-fPIC', '-pthread'],
      ldflags: ['-pthread', '-rdynamic'],
      default_configuration: 'Release',
      configurations: { Release: { cflags: ['-O2'] }, Debug: { cflags: ['-g', '-O0'] } },
    },
  };
  try {
    mkdirSync(include, { recursive: true });
    writeFileSync(join(include, 'common.gypi'), JSON.stringify(settings));
    writeFileSync(join(include, 'config.gypi'), JSON.stringify({ target_defaults: {}, variables: {} }));
    const args = ['rebuild', '-C', 'src/native', `--nodedir=${nodeFolder}`, '--loglevel=error'];
    run('building the native addon', process.execPath, [gyp, ...args]);
  } finally {
    rmSync(nodeFolder, { recursive: true, force: true });
  }
}

/** The steps in order; `inputs` says when a step must run again, `output` what must exist. */
const steps = {
  packages: {
    title: 'installing npm packages from the lock file',
    inputs: () => [join(root, 'package-lock.json')],
    output: 'node_modules/typescript/bin/tsc',
    run: () => {
      // npm's own wrapper names the script it was started from; without npm on the way, the one on the PATH.
      const npm = process.env.npm_execpath;
      const args = ['ci', '--no-audit', '--no-fund', '--include=dev'];
      if (npm?.endsWith('.js')) run('npm ci', process.execPath, [npm, ...args]);
      else run('npm ci', 'npm', args);
    },
  },
  typescript: {
    title: 'compiling',
    inputs: () => [
      ...filesBelow(join(root, 'src'), /\.ts$/),
      ...filesBelow(join(root, 'test'), /\.ts$/),
      join(root, 'tsconfig.json'),
      join(root, 'package-lock.json'),
    ],
    output: 'dist/src/cli/main.js',
    // Beside what is there and put in its place at the end: a lab that stands, or another terminal's test, goes on with what
    // it has. Whole folders, since files that were deleted must not live on as compiled ones where a test runner finds them.
    run: () => {
      const fresh = join(root, 'dist.new');
      rmSync(fresh, { recursive: true, force: true });
      const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
      run('compiling', process.execPath, [tsc, '-p', root, '--incremental', 'false', '--outDir', fresh]);
      // The two programs are started by name, also through a link.
      for (const program of ['cli', 'daemon']) chmodSync(join(fresh, 'src', program, 'main.js'), 0o755);
      mkdirSync(join(root, 'dist'), { recursive: true });
      // What `npm run build` remembers is of another time.
      rmSync(join(root, 'dist', '.tsbuildinfo'), { force: true });
      for (const part of ['src', 'test']) exchange(join(fresh, part), join(root, 'dist', part));
      rmSync(fresh, { recursive: true, force: true });
    },
  },
  addon: {
    title: 'building the native addon',
    inputs: () => [
      ...filesBelow(join(root, 'src', 'native'), /\.(c|cc|h|gyp)$/),
      ...filesBelow(join(root, 'kmod', 'core'), /\.(c|h)$/),
      join(root, 'package-lock.json'),
    ],
    output: 'src/native/build/Release/amptcp.node',
    run: buildAddon,
  },
};

/**
 * The eBPF programs of the LISP plane inside the Linux kernel. They are an acceleration: without clang they are left out,
 * loudly, and packets stay in user space.
 */
const bpf = {
  title: 'compiling the eBPF programs',
  inputs: () => filesBelow(join(root, 'src', 'native', 'linux', 'bpf'), /\.(bpf\.c|h)$/),
  output: join(root, 'dist', 'native', 'lisp.bpf.o'),
};

function clang() {
  const versions = Array.from({ length: 20 }, (_, index) => `clang-${30 - index}`);
  return ['clang', ...versions].find(which);
}

function buildBpf(state) {
  if (process.platform !== 'linux') return;
  const hash = hashFiles(bpf.inputs());
  if (state.bpf === hash && existsSync(bpf.output)) return;
  const compiler = clang();
  if (compiler === undefined) {
    log('setup: no clang: LISP inside the kernel (eBPF) is left out; apt-get install clang brings it');
    rmSync(bpf.output, { force: true });
    return;
  }
  log(`setup: ${bpf.title} ...`);
  mkdirSync(dirname(bpf.output), { recursive: true });
  // Debian keeps asm/types.h in a folder named by the machine, where clang does not look for another target's sake.
  const machine =
    { x64: 'x86_64', arm64: 'aarch64', arm: 'arm', riscv64: 'riscv64' }[process.arch] ?? process.arch;
  const headers = ['gnu', 'gnueabihf'].flatMap((abi) => [
    '-idirafter',
    `/usr/include/${machine}-linux-${abi}`,
  ]);
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  const source = join(root, 'src', 'native', 'linux', 'bpf', 'lisp.bpf.c');
  const target = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g0', '-std=gnu11'];
  run(bpf.title, compiler, [...target, ...warnings, ...headers, '-c', source, '-o', bpf.output]);
  state.bpf = hash;
  writeFileSync(statePath, JSON.stringify(state));
}

function main(argv) {
  const task = argv.includes('--for') ? argv[argv.indexOf('--for') + 1] : undefined;
  const nativeOnly = argv.includes('--native-only');
  if (!nativeOnly && !['lab', 'test', 'vm'].includes(task)) {
    throw new SetupError('usage: setup.mjs --for lab|test|vm | --native-only');
  }
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new SetupError(`Node.js 20 or newer is needed, this is ${process.versions.node}`);
  }
  alone(() => setUp(task, nativeOnly));
}

function setUp(task, nativeOnly) {
  const state = existsSync(statePath) ? JSON.parse(readFileSync(statePath, 'utf8')) : {};
  const needed = { lab: ['lab'], test: ['lab', 'test'], vm: ['vm'] }[task] ?? [];
  const names = nativeOnly ? ['addon'] : Object.keys(steps);

  for (const name of names) {
    const step = steps[name];
    const hash = hashFiles(step.inputs());
    const output = join(root, step.output);
    if (state[name] === hash && existsSync(output)) continue;
    // The compiler for the addon is asked for only where the addon has to be built.
    if (name === 'addon') systemPackages(['addon']);
    log(`setup: ${step.title} ...`);
    const started = Date.now();
    step.run();
    if (!existsSync(output) || !statSync(output).isFile())
      throw new SetupError(`${step.title}: ${step.output} was not made`);
    log(`setup: ${step.title}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
    state[name] = hash;
    mkdirSync(dirname(statePath), { recursive: true });
    writeFileSync(statePath, JSON.stringify(state));
  }
  if (needed.length > 0 && process.platform === 'linux') systemPackages(needed);
  // After the packages: a task that asks for clang has it by now.
  buildBpf(state);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  log(`setup: ${error.message}`);
  process.exitCode = 1;
}
