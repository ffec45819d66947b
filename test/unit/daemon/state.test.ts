// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseConfig } from '../../../src/daemon/config.js';
import { applicable, diffConfig } from '../../../src/daemon/reload.js';
import { AlreadyRunning, claimSocket, groupId, isAnswering } from '../../../src/daemon/socket.js';
import { State } from '../../../src/daemon/state.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'amptcp-state-'));
});
afterEach(() => {
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true, force: true });
});

const mapping = {
  eid: '198.18.0.0/24',
  iid: 0,
  locators: [{ rloc: '203.0.113.130', priority: 1, weight: 50 }],
};

describe('state', () => {
  it('survives a restart and leaves no temporary file', () => {
    const first = new State(join(folder, 'made'));
    first.addMapping(mapping);
    first.addMapping({ ...mapping, iid: 5 });
    first.addMapping({ ...mapping, locators: [] });
    first.saveControl({ xtrId: 'ab', registerNonce: '42' });
    const second = new State(join(folder, 'made'));
    assert.deepEqual(second.listMappings(), [
      { ...mapping, locators: [] },
      { ...mapping, iid: 5 },
    ]);
    assert.deepEqual(second.loadControl(), { xtrId: 'ab', registerNonce: '42' });
    assert.equal(second.removeMapping(mapping.eid, 5), true);
    assert.equal(second.removeMapping(mapping.eid, 5), false);
    assert.equal(new State(join(folder, 'made')).listMappings().length, 1);
    assert.deepEqual(readdirSync(join(folder, 'made')).sort(), ['control.json', 'mappings.json']);
    assert.equal(statSync(join(folder, 'made', 'mappings.json')).mode & 0o777, 0o600);
  });

  it('does not take a damaged file for an empty one', () => {
    writeFileSync(join(folder, 'mappings.json'), '[{"eid":');
    assert.throws(() => new State(folder), /mappings\.json is damaged .*; repair or remove it/);
    writeFileSync(join(folder, 'mappings.json'), '[{"eid":5}]');
    assert.throws(() => new State(folder), /mappings\.json has not the expected content/);
  });

  it('changes nothing when it cannot write', () => {
    const state = new State(folder);
    state.addMapping(mapping);
    rmSync(folder, { recursive: true });
    assert.throws(() => state.addMapping({ ...mapping, iid: 9 }));
    assert.deepEqual(state.listMappings(), [mapping]);
    assert.equal(state.loadControl(), undefined);
    new State(folder);
  });
});

const api = (socket: string) => ({ socket, mode: 0o660 });

describe('socket', () => {
  it('is refused while somebody answers on it, and taken over from the dead', async () => {
    const path = join(folder, 'a.sock');
    const server = createServer().listen(path);
    await new Promise((resolve) => server.once('listening', resolve));
    assert.equal(await isAnswering(path), true);
    await assert.rejects(
      claimSocket(api(path), undefined, () => undefined),
      AlreadyRunning,
    );
    await new Promise((resolve) => server.close(resolve));
    assert.equal(await isAnswering(path), false);
    const claimed = await claimSocket(api(path), undefined, () => undefined);
    assert.deepEqual(claimed.listen, { path });
  });

  it('replaces what a killed daemon left, but never a file', async () => {
    const path = join(folder, 'b.sock');
    // A socket nobody listens on: bound by a process that is gone.
    const { spawnSync } = await import('node:child_process');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    assert.ok(statSync(path).isSocket());
    await claimSocket(api(path), undefined, () => undefined);
    assert.throws(() => statSync(path));
    writeFileSync(path, 'precious');
    await assert.rejects(
      claimSocket(api(path), undefined, () => undefined),
      /is there and is no socket/,
    );
    assert.equal(readFileSync(path, 'utf8'), 'precious');
  });

  it('knows groups', () => {
    const file = join(folder, 'group');
    writeFileSync(file, 'root:x:0:\namptcp:x:977:a,b\n');
    assert.equal(groupId('amptcp', file), 977);
    assert.equal(groupId('nobody', file), undefined);
    assert.equal(groupId('amptcp', join(folder, 'none')), undefined);
  });
});

describe('reload', () => {
  const base = 'roles = ["map-server"]\n[map_server]\naddresses = ["192.0.2.1"]\n';
  const config = (extra = '') => parseConfig(extra + base, 'a.conf').config;

  it('tells what takes effect now from what waits for a restart', () => {
    const before = config();
    const after = parseConfig(
      `state_dir = "/elsewhere"\n${base}[relay]\ndrain_seconds = 3\nthreads = 4\n[log]\nlevel = "debug"\n[[rloc]]\naddress = "192.0.2.9"\n[mptcp]\nnotsent_lowat = 5\n`,
      'a.conf',
    ).config;
    assert.deepEqual(diffConfig(before, before), { changed: [], restart: [] });
    const diff = diffConfig(before, after);
    assert.deepEqual(diff.changed.sort(), [
      'log.level',
      'mptcp.notsent_lowat',
      'relay.drain_seconds',
      'rloc',
    ]);
    assert.deepEqual(diff.restart.sort(), ['relay.threads', 'state_dir']);
    const next = applicable(before, after);
    assert.equal(next.stateDir, before.stateDir);
    assert.equal(next.relay.threads, before.relay.threads);
    assert.equal(next.relay.drainSeconds, 3);
    assert.deepEqual(diffConfig(before, next).restart, []);
  });
});
