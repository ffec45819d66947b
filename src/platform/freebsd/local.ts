// SPDX-License-Identifier: BSD-2-Clause

/** The host as this process may change it, for those who may not import the addon themselves: the guard. */
import { loadNative, nativePart } from '../../native/index.js';
import { localFreeBsdHost } from './index.js';
import type { LocalFreeBsdHost } from './host.js';
import { ANCHOR } from './pf-rules.js';

export const localHost = (warn?: (message: string) => void): LocalFreeBsdHost =>
  localFreeBsdHost(loadNative(), undefined, warn);

/** Through a descriptor of /dev/pf: for a process that could not run pfctl(8) any more. */
export const flushAnchor = (descriptor: number): void =>
  nativePart('interception').flushAnchor(descriptor, ANCHOR);
