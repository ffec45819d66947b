// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EXIT } from '../../../src/cli/exit-codes.js';
import { amptcp } from './harness.js';

/** Each asks the daemon, and there is none: whatever is typed, nothing happens. */
const COMMANDS = [
  'status',
  'mapping list',
  'mapping show',
  'mapping add',
  'mapping remove',
  'mapping lookup',
  'mapping flush',
  'connection list',
  'connection show',
  'connection kill',
  'subflow list',
  'subflow add',
  'subflow remove',
  'path list',
  'path probe',
  'bypass list',
  'registration list',
  'config show',
  'config reload',
];

const word = fc.oneof(
  fc.constantFrom(
    '198.18.0.0/24',
    '203.0.113.1',
    '203.0.113.1,1,2',
    '2001:db8::/32',
    '42',
    '--iid',
    '7',
    '--backup',
    '--local',
    '-n',
    '-w',
    '--',
    '-',
    '',
  ),
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.ipV4Extended(),
  fc.ipV6(),
);

test('whatever is typed is answered with one sentence, or one JSON object, and a documented exit status', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...COMMANDS),
      fc.array(word, { maxLength: 5 }),
      fc.boolean(),
      async (command, words, json) => {
        // Help is not what is tried here.
        fc.pre(!words.some((text) => /^-*(h|help|version)/.test(text)));
        const argv = ['--socket', '/nonexistent/amptcpd.sock', ...(json ? ['--json'] : [])];
        const { exit, stdout, stderr } = await amptcp(...command.split(' '), ...argv, ...words);
        assert.ok(exit === EXIT.usage || exit === EXIT.notRunning, `exit status ${exit}`);
        if (json) {
          assert.equal(stderr, '');
          assert.equal(JSON.parse(stdout).exit, exit);
        } else {
          assert.equal(stdout, '');
          assert.match(stderr, /^amptcp: \S/);
          assert.doesNotMatch(stderr, /\n {4}at /);
          assert.doesNotMatch(stderr.replaceAll('\n', ''), /\p{Cc}/u);
        }
      },
    ),
    { numRuns: 200 },
  );
});
