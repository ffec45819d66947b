// SPDX-License-Identifier: BSD-2-Clause

/**
 * Authentication of Map-Register (RFC 9301 section 5.6), Map-Notify and Map-Notify-Ack (section 5.7, the same procedure);
 * Algorithm IDs are those of section 12.5. The MAC covers the whole message with the authentication data set to zero. What
 * may follow the records (xTR-ID and Site-ID) is covered as well: section 5.6 says both 'the entire payload' and 'through
 * the last RLOC-Record', and peers take the former.
 *
 * With HKDF each message has its own key (section 5.6, step 4; RFC 5869 with an empty `info`):
 *
 *   key = HKDF-SHA256(input keying material: nonce + PSK, salt: "<message> Authentication"), 32 octets
 *
 * Without one the pre-shared key itself is the key of every message.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { CodecError } from './bytes.js';

export type AlgorithmName = 'hmac-sha-256-128-hkdf' | 'hmac-sha-256-128' | 'hmac-sha-1-96';

export interface PresharedKey {
  keyId: number;
  key: string;
  algorithm: AlgorithmName;
}

interface Algorithm {
  /** Algorithm ID (RFC 9301 section 12.5). */
  id: number;
  hash: 'sha1' | 'sha256';
  derived: boolean;
  /** Octets sent. */
  size: number;
  /** Octets accepted: some peers send the whole hash instead of its first 96 or 128 bits. */
  accepted: readonly number[];
}

export const ALGORITHMS: Readonly<Record<AlgorithmName, Algorithm>> = {
  // Every peer in the field sends all 160 bits in spite of the name, and refuses anything else.
  'hmac-sha-1-96': { id: 1, hash: 'sha1', derived: false, size: 20, accepted: [12, 20] },
  'hmac-sha-256-128': { id: 2, hash: 'sha256', derived: false, size: 16, accepted: [16, 32] },
  'hmac-sha-256-128-hkdf': { id: 3, hash: 'sha256', derived: true, size: 16, accepted: [16, 32] },
};

/** The salt of the key derivation, by the number of the message type (RFC 9301 section 5.6, step 4). */
const SALTS: Readonly<Record<number, string>> = {
  3: 'Map-Register Authentication',
  4: 'Map-Notify Authentication',
  5: 'Map-Notify-Ack Authentication',
};

const NONCE_AT = 4;
const KEY_ID_AT = 12;
const ALGORITHM_AT = 13;
const LENGTH_AT = 14;
const DATA_AT = 16;

/**
 * The field before signing: right sizes, no MAC yet. `size` mirrors what a peer sends. SHA-1 is for peers of RFC 6833,
 * whose Key ID has 16 bits and names the algorithm: they understand no other Key ID than 0 before it.
 */
export const blankAuthentication = (key: PresharedKey, size = ALGORITHMS[key.algorithm].size) => ({
  keyId: key.algorithm === 'hmac-sha-1-96' ? 0 : key.keyId,
  algorithmId: ALGORITHMS[key.algorithm].id,
  data: new Uint8Array(size),
});

function authenticationData(message: Uint8Array): Uint8Array {
  if (message.length < DATA_AT)
    throw new CodecError('truncated', 'message ends before its authentication data');
  const length = (message[LENGTH_AT]! << 8) | message[LENGTH_AT + 1]!;
  if (message.length < DATA_AT + length)
    throw new CodecError('truncated', 'message ends inside its authentication data');
  return message.subarray(DATA_AT, DATA_AT + length);
}

function computeMac(message: Uint8Array, key: PresharedKey): Buffer {
  const algorithm = ALGORITHMS[key.algorithm];
  const blank = Uint8Array.from(message);
  authenticationData(blank).fill(0);
  let secret = Buffer.from(key.key, 'utf8');
  if (algorithm.derived) {
    const salt = SALTS[message[0]! >> 4];
    if (salt === undefined)
      throw new CodecError('unsupported', `messages of type ${message[0]! >> 4} are not authenticated`);
    const material = Buffer.concat([message.subarray(NONCE_AT, NONCE_AT + 8), secret]);
    secret = Buffer.from(hkdfSync('sha256', material, salt, '', 32));
  }
  return createHmac(algorithm.hash, secret).update(blank).digest();
}

/** Fills the authentication data of an encoded message in place and returns it. */
export function sign(message: Uint8Array, key: PresharedKey): Uint8Array {
  const data = authenticationData(message);
  data.set(computeMac(message, key).subarray(0, data.length));
  return message;
}

export type Verdict = 'ok' | 'algorithm-mismatch' | 'key-id-mismatch' | 'bad-length' | 'bad-mac';

/** Whether an encoded message was made with this key and algorithm; no other algorithm is accepted in its place. */
export function verify(message: Uint8Array, key: PresharedKey): Verdict {
  const algorithm = ALGORITHMS[key.algorithm];
  const data = authenticationData(message);
  if (message[ALGORITHM_AT] !== algorithm.id) return 'algorithm-mismatch';
  // RFC 6833's Key ID had 16 bits and named the algorithm: its peers send 0 where the Key ID is now.
  const legacy = !algorithm.derived && message[KEY_ID_AT] === 0;
  if (message[KEY_ID_AT] !== key.keyId && !legacy) return 'key-id-mismatch';
  if (!algorithm.accepted.includes(data.length)) return 'bad-length';
  const mac = computeMac(message, key).subarray(0, data.length);
  return timingSafeEqual(mac, data) ? 'ok' : 'bad-mac';
}
