// SPDX-License-Identifier: BSD-2-Clause

/** The relay on Linux: octets are spliced, they do not leave the kernel. */
import { nativePart } from '../../native/index.js';
import type { NativeRelay, RelayMethod } from '../../native/linux/sockets.types.js';
import { ThreadsRelay } from '../threads-relay.js';

/**
 * Splicing costs less processor time per octet than copying through a buffer, TCP to TCP a third to two thirds less,
 * TCP to MPTCP a third; MPTCP to TCP as much, since the kernel copies there either way.
 */
export const METHODS: { up: RelayMethod; down: RelayMethod } = { up: 'splice', down: 'splice' };

export class LinuxRelay extends ThreadsRelay {
  constructor(
    threads?: number,
    native: NativeRelay = nativePart('relay'),
    methods: { up: RelayMethod; down: RelayMethod } = METHODS,
  ) {
    super(native, methods, threads);
  }
}
