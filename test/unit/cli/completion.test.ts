// SPDX-License-Identifier: BSD-2-Clause

/** The generated scripts, tried in the shells that they are for. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { amptcp } from './harness.js';

const folder = mkdtempSync(join(tmpdir(), 'amptcp-completion-'));
after(() => rmSync(folder, { recursive: true }));
before(async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { exit, stdout } = await amptcp('completion', shell);
    assert.equal(exit, 0);
    writeFileSync(join(folder, `amptcp.${shell}`), stdout);
  }
});

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0']).status === 0;

/** What is offered at the end of a line, in order. */
const LINES: [line: string, offered: string[]][] = [
  ['amptcp map', ['mapping']],
  ['amptcp mapping ', ['add', 'flush', 'list', 'lookup', 'remove', 'show']],
  ['amptcp --json connection k', ['kill']],
  ['amptcp mapping add --i', ['--iid']],
  ['amptcp status --socket /x --w', ['--watch']],
  ['amptcp completion ', ['bash', 'fish', 'zsh']],
  ['amptcp lab u', ['up']],
  ['amptcp config check /etc/hostnam', ['/etc/hostname']],
];

test('bash', (context) => {
  if (!has('bash')) return context.skip('no bash');
  const script = `source ${folder}/amptcp.bash
    COMP_WORDS=($1); [[ $1 == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _amptcp; printf '%s\\n' "\${COMPREPLY[@]}"`;
  for (const [line, offered] of LINES) {
    const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script, 'bash', line], {
      encoding: 'utf8',
    });
    const words = stdout
      .trim()
      .split('\n')
      .filter((word) => !word.startsWith('-') || line.includes(' --'));
    assert.deepEqual([words.sort(), stderr], [offered, ''], line);
  }
});

test('fish', (context) => {
  if (!has('fish')) return context.skip('no fish');
  for (const [line, offered] of LINES) {
    const { stdout, stderr } = spawnSync(
      'fish',
      ['--no-config', '-c', `source ${folder}/amptcp.fish; complete -C '${line}'`],
      { encoding: 'utf8', env: { ...process.env, HOME: folder } },
    );
    const words = stdout
      .trim()
      .split('\n')
      .map((text) => text.split('\t')[0]);
    assert.deepEqual([words.sort(), stderr], [offered, ''], line);
  }
});

test('zsh', (context) => {
  if (!has('zsh')) return context.skip('no zsh');
  const { status, stderr } = spawnSync('zsh', ['-f', '-n', join(folder, 'amptcp.zsh')], { encoding: 'utf8' });
  assert.deepEqual([status, stderr], [0, '']);
});

test('the scripts know every command and no hidden one', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout } = await amptcp('completion', shell);
    for (const word of ['probe', 'reload', 'lookup', 'doctor', 'simulate'])
      assert.ok(stdout.includes(word), `${shell}: ${word}`);
    assert.ok(!stdout.includes('<%'), shell);
    assert.ok(!stdout.includes('manual'), shell);
  }
});
