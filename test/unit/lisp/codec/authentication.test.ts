// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { describe, it } from 'node:test';
import {
  ALGORITHMS,
  blankAuthentication,
  sign,
  verify,
  type AlgorithmName,
} from '../../../../src/lisp/codec/authentication.js';
import { CodecError } from '../../../../src/lisp/codec/bytes.js';
import { decodeMessage, encodeMessage } from '../../../../src/lisp/codec/messages.js';
import { authenticationVectors, controlVectors, hex, octets } from './vectors.js';

describe('authentication', () => {
  for (const { name, hex: text, key, verdict } of authenticationVectors()) {
    it(`${name}: ${verdict}`, () => assert.equal(verify(octets(text), key), verdict));
  }

  it('of Open Overlay Router’s messages verifies with their password', () => {
    const key = { keyId: 1, key: 'password', algorithm: 'hmac-sha-1-96' as const };
    const vectors = controlVectors().filter(
      ({ name, message }) => name.startsWith('Open Overlay Router') && 'authentication' in message,
    );
    assert.ok(vectors.length >= 3);
    for (const { hex: text } of vectors) {
      assert.equal(verify(octets(text), key), 'ok');
      assert.equal(verify(octets(text), { ...key, key: 'passwort' }), 'bad-mac');
      // Signing anew gives their octets.
      assert.equal(hex(sign(octets(text), key)), text);
    }
  });

  for (const algorithm of Object.keys(ALGORITHMS) as AlgorithmName[]) {
    it(`${algorithm}: what is signed verifies, and no bit of it can be changed`, () => {
      const key = { keyId: 3, key: 'secret', algorithm };
      const template = controlVectors().find(({ message }) => message.type === 'map-register')!.message;
      assert.ok(template.type === 'map-register');
      const bytes = sign(encodeMessage({ ...template, authentication: blankAuthentication(key) }), key);
      assert.equal(verify(bytes, key), 'ok');
      assert.ok(decodeMessage(bytes));
      for (let index = 0; index < bytes.length; index++) {
        const changed = bytes.slice();
        changed[index]! ^= 0x10;
        let verdict: string;
        try {
          verdict = verify(changed, key);
        } catch (error) {
          assert.ok(error instanceof CodecError);
          continue;
        }
        assert.notEqual(verdict, 'ok', `octet ${index}`);
      }
    });
  }

  it('derives the key of each message as RFC 9301 section 5.6 says, by RFC 5869 written out', () => {
    const salts = [
      'Map-Register Authentication',
      'Map-Notify Authentication',
      'Map-Notify-Ack Authentication',
    ];
    const good = authenticationVectors().filter(
      ({ key, verdict }) => key.algorithm === 'hmac-sha-256-128-hkdf' && verdict === 'ok',
    );
    assert.deepEqual(new Set(good.map(({ hex: text }) => octets(text)[0]! >> 4)), new Set([3, 4, 5]));
    for (const { name, hex: text, key } of good) {
      const message = Buffer.from(text, 'hex');
      const length = message.readUInt16BE(14);
      const sent = Buffer.from(message.subarray(16, 16 + length));
      message.fill(0, 16, 16 + length);
      const hmac = (secret: crypto.BinaryLike, data: Uint8Array): Buffer =>
        crypto.createHmac('sha256', secret).update(data).digest();
      // Extract: the salt is the key of the HMAC. Expand: one block, no info, a counter of 1.
      const material = Buffer.concat([message.subarray(4, 12), Buffer.from(key.key)]);
      const perMessage = hmac(hmac(salts[(message[0]! >> 4) - 3]!, material), Buffer.of(1));
      assert.deepEqual(hmac(perMessage, message).subarray(0, length), sent, name);
      assert.equal(message[13], 3, 'Algorithm ID');
    }
  });

  it('with SHA-1 goes out with Key ID 0, the only one its peers understand', () => {
    const wire = (algorithm: AlgorithmName) => blankAuthentication({ keyId: 3, key: 'secret', algorithm });
    assert.deepEqual(wire('hmac-sha-1-96'), { keyId: 0, algorithmId: 1, data: new Uint8Array(20) });
    assert.deepEqual(wire('hmac-sha-256-128'), { keyId: 3, algorithmId: 2, data: new Uint8Array(16) });
    assert.deepEqual(wire('hmac-sha-256-128-hkdf'), { keyId: 3, algorithmId: 3, data: new Uint8Array(16) });
  });

  it('of a message that is cut short is refused, not read beyond its end', () => {
    const { hex: text, key } = authenticationVectors()[0]!;
    const bytes = octets(text);
    for (let length = 0; length < 36; length++)
      assert.throws(() => verify(bytes.subarray(0, length), key), CodecError);
    for (let length = 36; length < bytes.length; length++)
      assert.equal(verify(bytes.subarray(0, length), key), 'bad-mac');
  });
});
