// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CodecError } from '../../../../src/lisp/codec/bytes.js';
import {
  decodeMessage,
  encodeMessage,
  messageLength,
  type ControlMessage,
} from '../../../../src/lisp/codec/messages.js';
import { message as anyMessage } from './generators.js';
import { controlVectors, hex, octets } from './vectors.js';

/** Messages whose end is 'whatever follows': cutting there leaves a shorter message, not a broken one. */
const openEnd = (message: ControlMessage): number => {
  switch (message.type) {
    case 'encapsulated':
      return message.packet.length;
    case 'unknown':
      return message.bytes.length - 4;
    case 'map-reply':
      return message.security?.length ?? 0;
    case 'map-notify':
    case 'map-notify-ack':
      return message.trailer?.length ?? 0;
    default:
      return 0;
  }
};

describe('control messages', () => {
  for (const { name, hex: text, message, notCanonical } of controlVectors()) {
    describe(name, () => {
      it('decodes', () => assert.deepEqual(decodeMessage(octets(text)), message));

      it('encodes', () => {
        if (notCanonical) assert.deepEqual(decodeMessage(encodeMessage(message)), message);
        else assert.equal(hex(encodeMessage(message)), text);
      });

      it('has the length it says', () => assert.equal(messageLength(message), octets(text).length));

      it('is refused at every truncation', () => {
        const bytes = octets(text);
        for (let length = 0; length < bytes.length - openEnd(message); length++) {
          assert.throws(
            () => decodeMessage(bytes.subarray(0, length)),
            (error) => error instanceof CodecError && error.code === 'truncated',
            `cut to ${length} octets`,
          );
        }
      });

      it('is refused with octets too many', () => {
        const open =
          ['encapsulated', 'unknown', 'map-notify', 'map-notify-ack'].includes(message.type) ||
          'security' in message;
        if (open && message.type !== 'map-register') return;
        assert.throws(
          () => decodeMessage(Uint8Array.from([...octets(text), 0])),
          /1 octets more than it should/,
        );
      });
    });
  }

  it('round-trip, whatever is in them', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const bytes = encodeMessage(message);
        assert.equal(bytes.length, messageLength(message));
        const back = decodeMessage(bytes);
        assert.deepEqual(back, message);
      }),
      { numRuns: 1000 },
    );
  });

  it('of random octets are decoded or refused with a CodecError', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.uint8Array({ maxLength: 300 }), (type, bytes) => {
        if (bytes.length > 0) bytes[0] = (type << 4) | (bytes[0]! & 15);
        decodesOrRefuses(bytes);
      }),
      { numRuns: 3000 },
    );
  });

  it('of known good octets, some changed, are decoded or refused with a CodecError', () => {
    const vectors = controlVectors().map(({ hex: text }) => text);
    fc.assert(
      fc.property(
        fc.constantFrom(...vectors),
        fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
        (text, changes) => {
          const bytes = octets(text);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          decodesOrRefuses(bytes);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it('say what is wrong', () => {
    assert.throws(() => decodeMessage(octets('')), /message header needs 4 octets at offset 0, 0 are left/);
    assert.throws(
      () =>
        decodeMessage(
          octets('200000010102030405060708' + '0000000a' + '01210000' + '0000' + '0001' + 'c0000200'),
        ),
      {
        code: 'malformed',
        message: 'EID mask length 33 is more than the 32 bits of its address family',
      },
    );
    assert.throws(
      () => decodeMessage(octets('100000000102030405060708' + '0000' + '0001cb007102')),
      /asks for nothing/,
    );
    assert.throws(() => decodeMessage(octets('100000010102030405060708' + '0006' + '010203040506')), {
      code: 'unsupported',
      message: 'address family 6 is not handled',
    });
    assert.throws(() => decodeMessage(octets('88000000')), { code: 'unsupported' });
  });

  it('with LCAFs nested without end are refused', () => {
    const nested = Buffer.concat(
      Array.from({ length: 100 }, (_, depth) =>
        Buffer.from(`400300000200${(12 * (100 - depth) - 8).toString(16).padStart(4, '0')}00000001`, 'hex'),
      ),
    );
    assert.throws(
      () => decodeMessage(Buffer.concat([octets('100000010102030405060708'), nested])),
      /nested more than/,
    );
  });

  it('that cannot be encoded are refused', () => {
    const message = decodeMessage(
      octets(controlVectors().find(({ message: { type } }) => type === 'map-request')!.hex),
    );
    assert.ok(message.type === 'map-request');
    assert.throws(() => encodeMessage({ ...message, itrRlocs: [] }), /1 to 32 ITR-RLOCs/);
    assert.throws(
      () => encodeMessage({ ...message, records: Array.from({ length: 256 }, () => message.records[0]!) }),
      /do not fit/,
    );
  });
});

function decodesOrRefuses(bytes: Uint8Array): void {
  let message: ControlMessage;
  try {
    message = decodeMessage(bytes);
  } catch (error) {
    assert.ok(error instanceof CodecError, String(error));
    return;
  }
  // What was understood goes out and comes back as the same thing.
  assert.deepEqual(decodeMessage(encodeMessage(message)), message);
}
