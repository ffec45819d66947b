// SPDX-License-Identifier: BSD-2-Clause

/** Pseudo-random octets that depend on a name only: both ends can tell what must arrive. */
import { createCipheriv, createHash } from 'node:crypto';

const CHUNK = 256 * 1024;

export function* pseudoRandom(name: string, size: number): Generator<Buffer> {
  const key = createHash('sha256').update(name).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK);
  for (let left = size; left > 0; left -= CHUNK) {
    yield cipher.update(left < CHUNK ? zeros.subarray(0, left) : zeros);
  }
}
