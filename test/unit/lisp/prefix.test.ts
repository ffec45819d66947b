// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  PrefixError,
  addressBytes,
  addressFromBytes,
  canonicalAddress,
  comparePrefixes,
  isAddress,
  isPrefix,
  parsePrefix,
  prefixContains,
  prefixFromBytes,
  prefixesOverlap,
} from '../../../src/lisp/prefix.js';

const octets = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const prefix = octets.chain((bytes) =>
  fc.nat(bytes.length * 8).map((length) => prefixFromBytes(bytes, length)),
);

describe('prefix', () => {
  it('is canonical text', () => {
    for (const [text, canonical] of [
      ['192.0.2.0/24', '192.0.2.0/24'],
      ['192.0.2.1', '192.0.2.1/32'],
      ['2001:DB8:0:0::/32', '2001:db8::/32'],
      ['2001:db8::1', '2001:db8::1/128'],
      ['::/0', '::/0'],
      ['0.0.0.0/0', '0.0.0.0/0'],
      ['64:ff9b::192.0.2.1', '64:ff9b::c000:201/128'],
    ] as const) {
      assert.equal(parsePrefix(text).text, canonical);
    }
  });

  it('is refused with a reason', () => {
    for (const [text, reason] of [
      ['192.0.2.1/24', /did you mean 192.0.2.0\/24\?/],
      ['2001:db8::1/64', /did you mean 2001:db8::\/64\?/],
      ['192.0.2.0/33', /from 0 to 32/],
      ['2001:db8::/129', /from 0 to 128/],
      ['192.0.2.0/', /from 0 to 32/],
      ['192.0.2.0/+8', /from 0 to 32/],
      ['192.0.2.0/08', /from 0 to 32/],
      ['192.0.2/24', /no IP prefix/],
      ['10.1', /no IP prefix/],
      ['0x7f.0.0.1', /no IP prefix/],
      ['01.2.3.4', /no IP prefix/],
      ['256.0.0.0/8', /no IP prefix/],
      ['fe80::1%eth0', /no IP prefix/],
      ['::192.0.2.1', /no IP prefix/],
      ['::ffff:01.2.3.4', /no IP prefix/],
      ['1::2::3', /no IP prefix/],
      ['192.0.2.0/24/8', /no IP prefix/],
      ['example.com', /no IP prefix/],
      ['', /no IP prefix/],
    ] as const) {
      assert.throws(
        () => parsePrefix(text),
        (error) => error instanceof PrefixError && reason.test(error.message),
        text,
      );
      assert.equal(isPrefix(text), false);
    }
  });

  it('survives text and back', () => {
    fc.assert(fc.property(prefix, (value) => assert.deepEqual(parsePrefix(value.text), value)));
    fc.assert(fc.property(octets, (bytes) => assert.deepEqual(addressBytes(addressFromBytes(bytes)), bytes)));
    assert.equal(canonicalAddress('2001:DB8::0001'), '2001:db8::1');
    assert.throws(() => canonicalAddress('192.0.2.0/24'), PrefixError);
  });

  it('addressBytes takes four decimal octets and nothing like them', () => {
    assert.deepEqual(addressBytes('255.0.10.1'), Uint8Array.of(255, 0, 10, 1));
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.3.',
      '.1.2.3',
      '1..2.3',
      '256.1.1.1',
      '1.2.3.01',
      '1.2.3.0004',
      '1.2.3.4 ',
      '0x7f.1',
    ])
      assert.throws(() => addressBytes(text), /is no IPv4 or IPv6 address/, text);
  });

  it('of any text is parsed or refused with a PrefixError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:./%x]{0,40}$/)), (text) => {
        const is = isPrefix(text);
        if (is) assert.equal(parsePrefix(parsePrefix(text).text).text, parsePrefix(text).text);
        if (isAddress(text)) assert.equal(is, true);
      }),
    );
  });

  it('contains itself, its halves, and nothing beside it', () => {
    fc.assert(
      fc.property(prefix, ({ bytes, length, text }) => {
        assert.ok(prefixContains(text, text));
        if (length === bytes.length * 8) return;
        const upper = bytes.slice();
        upper[length >> 3]! |= 0x80 >> (length & 7);
        const [low, high] = [prefixFromBytes(bytes, length + 1), prefixFromBytes(upper, length + 1)];
        assert.ok(prefixContains(text, low) && prefixContains(text, high) && prefixesOverlap(low, text));
        assert.ok(!prefixContains(low, text) && !prefixContains(low, high) && !prefixesOverlap(low, high));
      }),
    );
    assert.equal(prefixContains('0.0.0.0/0', '::1'), false);
  });

  it('sorts: IPv4 first, by address, shorter first', () => {
    const sorted = ['10.0.0.0/8', '10.0.0.0/16', '192.0.2.0/24', '::/0', '2001:db8::/32'];
    assert.deepEqual([...sorted].reverse().sort(comparePrefixes), sorted);
  });
});
