// SPDX-License-Identifier: BSD-2-Clause

/** What `npm run test:vm` boots and builds against: named by variables, so that nothing here knows a machine. */
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** A kernel file and a directory tree of userland; the harness packs them into an image. */
export interface TreeTarget {
  kind: 'tree';
  kernel: string;
  /** The same kernel without INVARIANTS and WITNESS, for the cost figures. */
  kernelWithoutDebug?: string;
  root: string;
}

/** An official FreeBSD virtual machine image, or one made like it: a disk that boots by UEFI. */
export interface ImageTarget {
  kind: 'image';
  image: string;
  /** What QEMU calls the file's format. */
  format: string;
  firmware: string;
}

export interface VmEnvironment {
  target: TreeTarget | ImageTarget;
  /** The kernel's sources (`sys`): the module is built against them. */
  sysdir: string;
  /** Headers and libraries of the userland: the test programs are built against them. */
  sysroot: string;
  /** Directory of the kernel's build, where its opt_*.h are; optional. */
  kernelBuild?: string;
  /** ... and of the build of the kernel without debug options, if that kernel lies in it. */
  kernelBuildWithoutDebug?: string;
}

export type Wanted = { run: VmEnvironment } | { skip: string } | { fail: string };

const EXPLANATION =
  'set FREEBSD_KERNEL and FREEBSD_ROOT, or FREEBSD_IMAGE, and FREEBSD_SYSDIR and FREEBSD_SYSROOT to test on a running FreeBSD (see README.md)';

const isDirectory = (path: string): boolean => {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
};

const isFile = (path: string): boolean => {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

/** The formats FreeBSD's images come in, by what the file begins with; a raw disk begins with code. */
export function imageFormat(head: Buffer): string {
  const begins = (magic: string): boolean =>
    head.subarray(0, magic.length).equals(Buffer.from(magic, 'latin1'));
  return begins('QFI\xfb') ? 'qcow2' : begins('KDMV') ? 'vmdk' : begins('conectix') ? 'vpc' : 'raw';
}

function headOf(path: string): Buffer {
  const head = Buffer.alloc(512);
  const file = openSync(path, 'r');
  try {
    return head.subarray(0, readSync(file, head, 0, head.length, 0));
  } finally {
    closeSync(file);
  }
}

/** Where distributions put UEFI for QEMU, in one file. */
const FIRMWARE = [
  '/usr/share/ovmf/OVMF.fd',
  '/usr/share/qemu/OVMF.fd',
  '/usr/share/OVMF/OVMF.fd',
  '/usr/share/edk2/x64/OVMF.4m.fd',
  '/usr/share/edk2/x64/OVMF.fd',
];

/** Reads the variables. A variable that names something that is not there is an error, never a skip. */
export function readEnvironment(env: NodeJS.ProcessEnv): Wanted {
  const { FREEBSD_KERNEL, FREEBSD_ROOT, FREEBSD_IMAGE, FREEBSD_SYSDIR, FREEBSD_SYSROOT } = env;
  const { FREEBSD_KERNEL_NODEBUG, FREEBSD_KERNBUILDDIR, FREEBSD_FIRMWARE } = env;
  if (!FREEBSD_KERNEL && !FREEBSD_ROOT && !FREEBSD_IMAGE) {
    return { skip: EXPLANATION };
  }
  if (FREEBSD_IMAGE && (FREEBSD_KERNEL || FREEBSD_ROOT)) {
    return { fail: 'FREEBSD_IMAGE excludes FREEBSD_KERNEL and FREEBSD_ROOT: set one or the other' };
  }
  const files = { FREEBSD_KERNEL, FREEBSD_IMAGE, FREEBSD_KERNEL_NODEBUG, FREEBSD_FIRMWARE };
  const directories = { FREEBSD_ROOT, FREEBSD_SYSDIR, FREEBSD_SYSROOT, FREEBSD_KERNBUILDDIR };
  for (const [name, value] of Object.entries(files)) {
    if (value && !isFile(value)) {
      return { fail: `${name}=${value}: no such file` };
    }
  }
  for (const [name, value] of Object.entries(directories)) {
    if (value && !isDirectory(value)) {
      return { fail: `${name}=${value}: no such directory` };
    }
  }
  if (!FREEBSD_SYSDIR || !FREEBSD_SYSROOT) {
    return { fail: 'FREEBSD_SYSDIR and FREEBSD_SYSROOT name what to build against: set both' };
  }
  let target: VmEnvironment['target'];
  if (FREEBSD_IMAGE) {
    const head = headOf(FREEBSD_IMAGE);
    if (head.subarray(1, 5).equals(Buffer.from('7zXZ'))) {
      return { fail: `${FREEBSD_IMAGE} is compressed: unpack it with unxz` };
    }
    const firmware = FREEBSD_FIRMWARE ?? FIRMWARE.find(isFile);
    if (firmware === undefined) {
      return { fail: 'FREEBSD_IMAGE boots by UEFI: apt install ovmf, or set FREEBSD_FIRMWARE' };
    }
    target = { kind: 'image', image: FREEBSD_IMAGE, format: imageFormat(head), firmware };
  } else if (FREEBSD_KERNEL && FREEBSD_ROOT) {
    target = { kind: 'tree', kernel: FREEBSD_KERNEL, root: FREEBSD_ROOT };
    if (FREEBSD_KERNEL_NODEBUG) {
      target.kernelWithoutDebug = FREEBSD_KERNEL_NODEBUG;
    }
  } else {
    return { fail: 'FREEBSD_KERNEL and FREEBSD_ROOT belong together: set both' };
  }
  const run: VmEnvironment = { target, sysdir: FREEBSD_SYSDIR, sysroot: FREEBSD_SYSROOT };
  if (FREEBSD_KERNBUILDDIR) {
    run.kernelBuild = FREEBSD_KERNBUILDDIR;
  }
  if (FREEBSD_KERNEL_NODEBUG && isFile(join(dirname(FREEBSD_KERNEL_NODEBUG), 'opt_global.h'))) {
    run.kernelBuildWithoutDebug = dirname(FREEBSD_KERNEL_NODEBUG);
  }
  return { run };
}

export interface Tools {
  bmake: string;
  clang: string;
  lld: string;
  /** Directory of the unversioned llvm binary tools. */
  llvm: string;
  gawk: string;
  xorriso: string;
  qemu: string;
}

/** First of `names` found on PATH. */
function find(path: string, names: string[]): string | undefined {
  for (const name of names) {
    for (const directory of path.split(delimiter)) {
      const candidate = join(directory, name);
      try {
        accessSync(candidate, constants.X_OK);
        return candidate;
      } catch {
        continue;
      }
    }
  }
  return undefined;
}

const versions = (name: string): string[] => [name, ...[21, 20, 19, 18, 17, 16].map((n) => `${name}-${n}`)];

/** Finds what builds and boots; what is missing is named by its Debian package. */
export function findTools(path: string): { tools: Tools } | { missing: string[] } {
  const wanted = [
    { key: 'bmake', names: ['bmake'], package: 'bmake' },
    { key: 'clang', names: versions('clang').slice(1).concat('clang'), package: 'clang-19' },
    { key: 'lld', names: versions('ld.lld').slice(1).concat('ld.lld'), package: 'lld-19' },
    { key: 'llvm', names: versions('llvm-objcopy').slice(1).concat('llvm-objcopy'), package: 'llvm-19' },
    { key: 'gawk', names: ['gawk'], package: 'gawk' },
    { key: 'xorriso', names: ['xorriso'], package: 'xorriso' },
    { key: 'qemu', names: ['qemu-system-x86_64'], package: 'qemu-system-x86' },
  ] as const;
  const missing: string[] = [];
  const tools: Partial<Tools> = {};
  for (const tool of wanted) {
    const found = find(path, [...tool.names]);
    if (found) {
      tools[tool.key] = found;
    } else {
      missing.push(tool.package);
    }
  }
  return missing.length > 0 ? { missing } : { tools: tools as Tools };
}
