// SPDX-License-Identifier: BSD-2-Clause

/**
 * The eBPF programs of the LISP data plane and their maps, in the kernel. Only loading them takes privilege (CAP_BPF in the initial
 * user namespace): who has the descriptors may fill the maps, and attach the programs with CAP_NET_ADMIN. So a guard loads them
 * and hands the descriptors down.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nativePart } from '../../native/index.js';
import type { NativeBpf, NativeMap } from '../../native/linux/bpf/bpf.types.js';
import { PlatformError } from '../platform.js';

/** What setup.mjs compiles where there is a clang. */
export const OBJECT_FILE = fileURLToPath(new URL('../../../native/lisp.bpf.o', import.meta.url));

/** The descriptors belong to whoever has this. */
export interface LispPrograms {
  maps: Record<string, NativeMap>;
  /** Descriptors by name. */
  programs: Record<string, number>;
}

/** @throws PlatformError when they were not built or the kernel does not take them. */
export function loadLispPrograms(
  native: Pick<NativeBpf, 'load'> = nativePart('bpf'),
  objectFile = OBJECT_FILE,
): LispPrograms {
  let file: Uint8Array;
  try {
    file = readFileSync(objectFile);
  } catch (error) {
    throw new PlatformError(
      'the eBPF programs were not built (install clang, then run the setup again)',
      'ENOENT',
      { cause: error },
    );
  }
  return native.load(file);
}

/** What a process that was killed left attached, where the kernel does not take it back by itself (clsact). */
export const detachLispPrograms = (native: Pick<NativeBpf, 'clean'> = nativePart('bpf')): void =>
  native.clean();
