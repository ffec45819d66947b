// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../../src/daemon/main.js', import.meta.url));
const amptcpd = (...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
    child.on('close', (status) => resolve({ status, ...output }));
  });

describe('amptcpd', () => {
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-main-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  it('checks a configuration: errors with file, line and key, exit 78', async () => {
    const path = file('bad.conf', 'roles = ["map-server"]\n[map_server]\nadresses = ["192.0.2.1"]\n');
    assert.deepEqual(await amptcpd('-n', '-c', path), {
      status: 78,
      stdout: '',
      stderr: `${path}:2: map_server.addresses: missing; the role "map-server" needs the addresses to answer on
${path}:3: map_server.adresses: unknown key; did you mean "addresses"?
`,
    });
  });

  it('checks a configuration: fine, with a warning', async () => {
    const path = file('good.conf', 'roles = ["map-server"]\n[map_server]\naddresses = ["192.0.2.1"]\n');
    assert.deepEqual(await amptcpd('-n', '--config', path), {
      status: 0,
      stdout: `${path}: no errors\n`,
      stderr: `warning: ${path}:2: map_server.site: no site is configured: nobody may register\n`,
    });
  });

  it('says so when another one is running, exit 75', async () => {
    const socket = join(folder, 'a.sock');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    const path = file(
      'running.conf',
      `roles = ["map-server"]\nstate_dir = "${folder}/state"\n[api]\nsocket = "${socket}"\n[map_server]\naddresses = ["127.0.0.1"]\n`,
    );
    const { status, stderr } = await amptcpd('-c', path);
    assert.equal(status, 75);
    assert.equal(stderr, `amptcpd: another amptcpd is running: it answers on ${socket}\n`);
    await new Promise((resolve) => server.close(resolve));
  });

  it('answers to wrong arguments with its usage, exit 64', async () => {
    const { status, stderr } = await amptcpd('--nope');
    assert.equal(status, 64);
    assert.match(stderr, /^amptcpd: Unknown option '--nope'\nusage: amptcpd \[--config FILE\]/);
  });

  it('knows its version and its usage', async () => {
    const version = await amptcpd('--version');
    assert.match(version.stdout, /^amptcpd \d+\.\d+\.\d+\n$/);
    assert.match((await amptcpd('--help')).stdout, /exit codes:/);
  });
});
