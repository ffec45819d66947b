// SPDX-License-Identifier: BSD-2-Clause

/** Reads test/vectors: octets as hexadecimal on one side, the object on the other. Nonces and octet strings are text there. */
import { readFileSync } from 'node:fs';
import type { ControlMessage } from '../../../../src/lisp/codec/messages.js';

export interface Vector {
  name: string;
  hex: string;
  message: ControlMessage;
  /** Encoding the object gives other, equally valid octets (set reserved bits, a peer's choice of header fields). */
  notCanonical?: boolean;
}

export interface AuthenticationVector {
  name: string;
  hex: string;
  key: {
    keyId: number;
    key: string;
    algorithm: 'hmac-sha-256-128-hkdf' | 'hmac-sha-256-128' | 'hmac-sha-1-96';
  };
  verdict: string;
}

const OCTETS = new Set(['data', 'packet', 'payload', 'trailer', 'bytes', 'security']);

const fromJson = (key: string, value: unknown): unknown => {
  if (key === 'nonce') return BigInt(value as string);
  return OCTETS.has(key) && typeof value === 'string' ? new Uint8Array(Buffer.from(value, 'hex')) : value;
};

const read = <T>(file: string): T =>
  JSON.parse(
    readFileSync(new URL(`../../../../../test/vectors/${file}`, import.meta.url), 'utf8'),
    fromJson,
  ) as T;

export const controlVectors = (): Vector[] => [
  ...read<Vector[]>('control.json'),
  ...read<Vector[]>('control-oor.json'),
];

export const authenticationVectors = (): AuthenticationVector[] =>
  read<AuthenticationVector[]>('control-authentication.json');

export const octets = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
