// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CodecError } from '../../../../src/lisp/codec/bytes.js';
import {
  decapsulate,
  decodeInnerPacket,
  encapsulate,
  encodeInnerPacket,
} from '../../../../src/lisp/codec/ecm.js';
import { encodeMessage, type Encapsulated } from '../../../../src/lisp/codec/messages.js';
import { ipv4, ipv6, message as anyMessage } from './generators.js';
import { controlVectors, hex } from './vectors.js';

const ecms = controlVectors().flatMap(({ name, message }) =>
  message.type === 'encapsulated' ? [{ name, message }] : [],
);

describe('Encapsulated Control Message', () => {
  for (const { name, message } of ecms) {
    it(`${name}: its inside decodes and encodes to the same control message`, () => {
      const { inner, message: inside } = decapsulate(message);
      assert.equal(inside.type, 'map-request');
      assert.equal(hex(encodeMessage(inside)), hex(inner.payload));
      assert.equal(inner.destinationPort, 4342);
    });

    it(`${name}: is refused at every truncation and with an octet too many`, () => {
      for (let length = 0; length < message.packet.length; length++) {
        assert.throws(
          () => decodeInnerPacket(message.packet.subarray(0, length)),
          CodecError,
          `cut to ${length}`,
        );
      }
      assert.throws(() => decodeInnerPacket(Uint8Array.from([...message.packet, 0])), /1 octets more/);
    });

    it(`${name}: a bit changed anywhere that a checksum covers is noticed`, () => {
      const ipv6Packet = message.packet[0]! >> 4 === 6;
      for (let index = 0; index < message.packet.length; index++) {
        // Traffic class, flow label and hop limit of IPv6 have no checksum.
        if (ipv6Packet && (index < 4 || index === 7)) continue;
        for (let bit = 0; bit < 8; bit++) {
          const packet = message.packet.slice();
          packet[index]! ^= 1 << bit;
          assert.throws(() => decodeInnerPacket(packet), CodecError, `octet ${index} bit ${bit}`);
        }
      }
    });
  }

  it('headers are made with correct checksums, IPv4 and IPv6', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.tuple(ipv4, ipv4), fc.tuple(ipv6, ipv6)),
        fc.nat(65535),
        fc.nat(65535),
        fc.uint8Array({ maxLength: 200 }),
        ([source, destination], sourcePort, destinationPort, payload) => {
          const packet = { source, sourcePort, destination, destinationPort, payload };
          assert.deepEqual(decodeInnerPacket(encodeInnerPacket(packet)), packet);
        },
      ),
    );
  });

  it('wraps and unwraps any control message but itself', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const outer = encapsulate(message, '192.0.2.1', '198.18.1.10');
        if (message.type === 'encapsulated') assert.throws(() => decapsulate(outer), /inside another/);
        else assert.deepEqual(decapsulate(outer).message, message);
      }),
    );
  });

  it('refuses what is no UDP packet', () => {
    const packet = (text: string): Encapsulated => ({
      type: 'encapsulated',
      ddt: false,
      packet: new Uint8Array(Buffer.from(text, 'hex')),
    });
    assert.throws(() => decapsulate(packet('50')), /IP version 5/);
    assert.throws(() => decapsulate(packet('44')), /header length of 16/);
    assert.throws(() => decapsulate(packet('')), /needs 1 octets/);
    assert.throws(
      () =>
        encodeInnerPacket({
          source: '192.0.2.1',
          destination: '2001:db8::1',
          sourcePort: 1,
          destinationPort: 1,
          payload: new Uint8Array(),
        }),
      RangeError,
    );
  });

  it('of random octets is decoded or refused with a CodecError', () => {
    fc.assert(
      fc.property(fc.constantFrom(0x45, 0x46, 0x60), fc.uint8Array({ maxLength: 120 }), (first, bytes) => {
        if (bytes.length > 0) bytes[0] = first;
        try {
          decodeInnerPacket(bytes);
        } catch (error) {
          assert.ok(error instanceof CodecError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
