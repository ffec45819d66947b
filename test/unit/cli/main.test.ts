// SPDX-License-Identifier: BSD-2-Clause

/** The program itself, as a shell starts it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { status } from './data.js';
import { FakeDaemon, MAIN, ROOT, type Result } from './harness.js';

const folder = mkdtempSync(join(tmpdir(), 'amptcp-main-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function run(
  argv: string[],
  options: { main?: string; env?: NodeJS.ProcessEnv; uid?: number; gid?: number } = {},
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const { main = MAIN, env = {}, ...ids } = options;
    const child = spawn(process.execPath, [main, ...argv], {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, HOME: folder, ...env },
      ...ids,
    });
    const result: Result = { exit: -1, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (result.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...result, exit: code ?? -1 }));
  });
}

test('from anywhere and through a symbolic link', async () => {
  const link = join(folder, 'amptcp');
  symlinkSync(MAIN, link);
  const result = await run(['--version'], { main: link });
  assert.match(result.stdout, /^amptcp\/\d+\.\d+\.\d+ /);
  assert.deepEqual([result.exit, result.stderr], [0, '']);
});

test('the socket comes from AMPTCP_SOCKET, and --socket goes before it', async () => {
  const daemon = await FakeDaemon.start({ status });
  try {
    const byVariable = await run(['status', '--json'], { env: { AMPTCP_SOCKET: daemon.socket } });
    assert.deepEqual([byVariable.exit, JSON.parse(byVariable.stdout)], [0, status]);
    const byFlag = await run(['status', '--socket', '/nonexistent'], {
      env: { AMPTCP_SOCKET: daemon.socket },
    });
    assert.equal(byFlag.exit, 3);
    assert.equal(byFlag.stdout, '');
  } finally {
    await daemon.stop();
  }
});

test('a bad flag with --json is one JSON object and exit status 2', async () => {
  const result = await run(['status', '--json', '--nonsense']);
  assert.deepEqual(
    [result.exit, JSON.parse(result.stdout), result.stderr],
    [2, { code: 'usage', message: 'Nonexistent flag: --nonsense', exit: 2 }, ''],
  );
});

test('a user who may not reach the socket is told so', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root, to become somebody else');
  const NOBODY = 65534;
  const GROUP = 54321;
  const socket = join(folder, 'amptcpd.sock');
  const server = createServer().listen(socket);
  await new Promise((resolve) => server.once('listening', resolve));
  chmodSync(folder, 0o755);
  chmodSync(socket, 0o660);
  chownSync(socket, 0, GROUP);
  try {
    const result = await run(['status', '--socket', socket], { uid: NOBODY, gid: NOBODY });
    if (/MODULE_NOT_FOUND|EACCES: permission denied, (open|realpath|lstat)/.test(result.stderr)) {
      return context.skip(`another user cannot read ${ROOT}`);
    }
    assert.equal(result.exit, 4, result.stderr);
    assert.match(
      result.stderr,
      /^amptcp: User \S+ may not use \S+\/amptcpd\.sock: it is for root and the group amptcp\.\n/,
    );
    assert.match(result.stderr, /Join the group \(as root: .+ amptcp .*; then log in again\)/);
  } finally {
    server.close();
  }
});

test('every command has a summary, an example, its exit status, and --json', async () => {
  const { Config } = await import('@oclif/core');
  const config = await Config.load({ root: ROOT });
  const own = config.commands.filter((command) => command.pluginName === 'amptcp' && !command.hidden);
  assert.ok(own.length >= 20, `${own.length} commands`);
  for (const command of own) {
    assert.ok(command.summary?.endsWith('.'), `${command.id}: summary`);
    assert.ok(command.examples?.length, `${command.id}: examples`);
    assert.ok(Array.isArray(command['exitCodes']), `${command.id}: exit status`);
    // 'lab enter' hands its output to the command that it runs.
    assert.ok(command.flags['json'] || command.id === 'lab:enter', `${command.id}: --json`);
  }
  const help = await run(['mapping', 'add', '--help']);
  for (const part of [
    'USAGE\n  $ amptcp mapping add EID RLOC...',
    'EXAMPLES',
    'EXIT STATUS\n  0  Success.',
    '  6  The daemon refused',
  ]) {
    assert.ok(help.stdout.includes(part), part);
  }
});

test('--watch looks again and again, one JSON object a line', async () => {
  const daemon = await FakeDaemon.start({ connectionList: { connections: [] } });
  const child = spawn(
    process.execPath,
    [MAIN, 'connection', 'list', '--watch', '--json', '--socket', daemon.socket],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    let text = '';
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      text += chunk as string;
      if (text.split('\n').length > 2) break;
    }
    assert.ok(text.startsWith('{"connections":[]}\n{"connections":[]}\n'), text);
  } finally {
    child.kill('SIGKILL');
    await daemon.stop();
  }
});
