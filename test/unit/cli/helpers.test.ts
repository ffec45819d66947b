// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { destinationOf, prefixOf, rlocOf } from '../../../src/cli/arguments.js';
import { printable } from '../../../src/cli/output.js';
import { DEFAULT_CONFIG_FILE, DEFAULT_SOCKET } from '../../../src/cli/socket.js';
import { properties, table } from '../../../src/cli/table.js';
import { duration, endpoint, milliseconds, octets, plural, rate } from '../../../src/cli/units.js';
import * as daemon from '../../../src/daemon/config.js';

test('octets and rates in decimal units', () => {
  assert.deepEqual(
    [0, 999, 1000, 1500, 99_949, 99_950, 999_499, 999_500, 1e6, 50e6, 2.5e9, 7e18].map(octets),
    [
      '0 B',
      '999 B',
      '1.0 kB',
      '1.5 kB',
      '99.9 kB',
      '100 kB',
      '999 kB',
      '1.0 MB',
      '1.0 MB',
      '50.0 MB',
      '2.5 GB',
      '7000 PB',
    ],
  );
  assert.equal(rate(49_900_000), '49.9 Mbit/s');
});

test('durations', () => {
  assert.deepEqual(
    [0, 999, 1000, 59_949, 59_950, 200_000, 3_600_000, 18_720_000, 1_047_600_000].map(duration),
    ['0 ms', '999 ms', '1.0 s', '59.9 s', '1m 0s', '3m 20s', '1h 0m', '5h 12m', '12d 3h'],
  );
  assert.deepEqual([undefined, 0.04, 9.96, 12.6].map(milliseconds), [
    undefined,
    '0.0 ms',
    '10.0 ms',
    '13 ms',
  ]);
});

test('endpoints, plurals', () => {
  assert.equal(endpoint({ address: '192.0.2.1', port: 443 }), '192.0.2.1:443');
  assert.equal(endpoint({ address: '2001:db8::1', port: 443 }), '[2001:db8::1]:443');
  assert.deepEqual(
    [0, 1, 2].map((count) => plural(count, 'mapping')),
    ['0 mappings', '1 mapping', '2 mappings'],
  );
});

test('a table is as wide as its cells, and says when there is nothing to say', () => {
  const rows = [
    { name: 'a', size: 5, note: 'x' },
    { name: 'longer', size: 12345, note: undefined },
  ];
  assert.equal(
    table(rows, [
      { header: 'NAME', value: (row) => row.name },
      { header: 'SIZE', value: (row) => row.size, align: 'right' },
      { header: 'NOTE', value: (row) => row.note },
    ]),
    ['NAME     SIZE  NOTE', 'a           5  x', 'longer  12345  -'].join('\n'),
  );
  assert.equal(
    properties([
      ['one', 1],
      ['left out', undefined],
      ['three', 'x'],
    ]),
    'one    1\nthree  x',
  );
});

test('nothing from the network steers the terminal', () => {
  assert.equal(printable('a\x1b[2Jb\u202ec\nd\x9be\x7f'), 'a?[2Jb?c?d?e?');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const shown = table([text], [{ header: 'X', value: (value) => value }]).split('\n');
      return shown.length === 2 && shown.every((line) => !/[\p{Cc}\u202a-\u202e]/u.test(line));
    }),
  );
});

test('prefixes, destinations and RLOCs are checked before the daemon is asked', () => {
  assert.equal(prefixOf('2001:DB8:0::/48'), '2001:db8::/48');
  assert.equal(prefixOf('192.0.2.1'), '192.0.2.1/32');
  for (const wrong of [
    '',
    '192.0.2.0/33',
    '192.0.2.1/24',
    '192.0.2/24',
    'example.org',
    '::/129',
    '10.0.0.0/8/8',
  ]) {
    assert.throws(() => prefixOf(wrong), { name: 'Failure', exit: 2 }, wrong);
  }
  assert.equal(destinationOf('198.18.1.10:443'), '198.18.1.10:443');
  assert.equal(destinationOf('[2001:DB8::10]:443'), '[2001:db8::10]:443');
  for (const wrong of [
    '198.18.1.10',
    '198.18.1.10:0',
    '198.18.1.10:65536',
    '2001:db8::10:443',
    '[198.18.1.10]:443',
    'x:1',
  ]) {
    assert.throws(() => destinationOf(wrong), { name: 'Failure', exit: 2 }, wrong);
  }
  assert.deepEqual(rlocOf('203.0.113.1'), { address: '203.0.113.1', priority: undefined, weight: undefined });
  assert.deepEqual(rlocOf('203.0.113.1,2,70'), { address: '203.0.113.1', priority: 2, weight: 70 });
  for (const wrong of [
    '203.0.113.1,256',
    '203.0.113.1,1,101',
    '203.0.113.1,a',
    '203.0.113.1,1,1,1',
    'x',
    '203.0.113.1/32',
  ]) {
    assert.throws(() => rlocOf(wrong), { name: 'Failure', exit: 2 }, wrong);
  }
});

test("the CLI's defaults are the daemon's", () => {
  assert.equal(DEFAULT_SOCKET, daemon.DEFAULT_SOCKET);
  assert.equal(DEFAULT_CONFIG_FILE, daemon.DEFAULT_CONFIG);
});
