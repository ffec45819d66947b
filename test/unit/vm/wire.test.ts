// SPDX-License-Identifier: BSD-2-Clause

/** What test:vm says of recorded data segments and their mappings. Lines are tshark's: see FIELDS in wire.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, readLine, type Flow } from '../../vm/wire.js';

function wrong(...lines: string[]): string[] {
  const flows = new Map<string, Flow>();
  for (const line of lines) readLine(line.replaceAll(' ', '\t'), flows);
  return judge(flows);
}
/** stream, IPv4, IPv6, sequence number, octets, then of the option: subflow's and data sequence number, length, DATA_FIN, subtype. */
const data = (seq: number, len: number, map = '    '): string => `0 192.0.2.1  ${seq} ${len} ${map}`;

void test('a segment within its mapping, in pieces, and again', () => {
  assert.deepEqual(
    wrong(data(1, 100, '1 5001 300 0 2'), data(101, 200, '1 5001 300 0 2'), data(1, 300, '1 5001 300 0 2')),
    [],
  );
});

void test('the first data with MP_CAPABLE, then mappings that join up', () => {
  assert.deepEqual(wrong(data(1, 50, '  50  0'), data(51, 50, '51 1051 50 0 2'), data(1, 100)), []);
});

void test('a segment that reaches over the end of what it carries', () => {
  assert.match(wrong(data(1, 101, '1 5001 100 0 2'))[0] ?? '', /outside its mapping/);
});

void test('a DATA_FIN is no octet of the segment', () => {
  assert.deepEqual(wrong(data(1, 100, '1 5001 101 1 2')), []);
  assert.equal(wrong(data(1, 101, '1 5001 101 1 2')).length, 2);
});

void test('octets without a mapping, among others that have one', () => {
  assert.match(wrong(data(1, 100, '1 5001 100 0 2'), data(101, 10))[0] ?? '', /without a mapping/);
  assert.deepEqual(wrong(data(1, 100), data(101, 10)), [], 'plain TCP');
});

void test('an octet that is given two numbers', () => {
  assert.match(
    wrong(data(1, 100, '1 5001 100 0 2'), data(51, 50, '51 5052 50 0 2'))[0] ?? '',
    /mapped twice/,
  );
  assert.deepEqual(
    wrong(data(1, 100, '1 4294967296 100 0 2'), data(51, 50, '51 50 50 0 2')),
    [],
    'the lower half of a number is the same number',
  );
});

void test('an infinite mapping holds all that follows', () => {
  assert.deepEqual(
    wrong(data(1, 100, '1 5001 100 0 2'), data(101, 10, '101 5101 0 0 2'), data(111, 900)),
    [],
  );
});
