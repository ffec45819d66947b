// SPDX-License-Identifier: BSD-2-Clause

/** The daemon's own life: killed, reloaded, started twice, drained; and what it leaves behind (nothing). */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PORTS } from '../../src/lab/configs.js';
import { Lab } from '../../src/lab/lab.js';
import { finished, waitFor } from '../../src/lab/process.js';
import { addresses } from '../../src/lab/topology.js';
import { nativePart } from '../../src/native/index.js';
import { refusal } from '../../src/platform/linux/kernel-plane.js';
import { Agent } from './agent-client.js';
import { connection, connections, idle, sharedLab, skip } from './support.js';

const MEGABYTE = 1_000_000;

/** Everything a daemon can change in its host's network. */
async function hostNetwork(lab: Lab): Promise<Record<string, string>> {
  const commands: Record<string, string[]> = {
    rules4: ['ip', '-4', 'rule'],
    rules6: ['ip', '-6', 'rule'],
    routes4: ['ip', '-4', 'route', 'show', 'table', 'all'],
    routes6: ['ip', '-6', 'route', 'show', 'table', 'all'],
    devices: ['ip', '-br', 'link'],
    nft: ['nft', 'list', 'ruleset'],
  };
  const found: Record<string, string> = {};
  for (const [name, command] of Object.entries(commands)) {
    const { stdout } = await lab.run('gateway', command);
    found[name] = stdout
      .replace(/ (expires|users|used|age) \S+/g, '')
      .split('\n')
      .map((line) => line.trim())
      // The kernel's own link-local routes come some time after a link is up.
      .filter((line) => line !== '' && !line.includes('fe80::') && !line.includes('ff00::'))
      .sort()
      .join('\n');
  }
  return found;
}

/** Who the server sees as the client's address on a new connection. */
async function seenFrom(
  client: Agent,
  server: Agent,
  port: number,
  index: number,
): Promise<string | undefined> {
  const near = await client.connect(addresses.server(4), port);
  const far = await server.accepted(port, index, 5000);
  const { remote } = await far.state();
  await near.end();
  await far.end();
  return remote;
}

describe('the daemon in its host', { skip }, () => {
  let clean: Record<string, string>;
  const lab = sharedLab({ rlocs: 2, rateMbps: 100 }, async (made) => {
    await made.startServers();
    clean = await hostNetwork(made);
    await made.startDaemons();
  });
  let client: Agent;
  let server: Agent;
  let accepted = 0;
  const port = PORTS.tests.from;
  const seen = () => seenFrom(client, server, port, accepted++);

  before(async () => {
    client = await Agent.start(lab(), 'client');
    server = await Agent.start(lab(), 'server', { mptcp: true });
    await server.listen(port);
  });
  after(async () => {
    await client?.close();
    await server?.close();
  });

  it('a second start on the same configuration says so and ends', async () => {
    const child = lab().spawn('gateway', 'second', [
      process.execPath,
      fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url)),
      '--config',
      lab().configPath('gateway'),
    ]);
    const status = await finished(child);
    assert.notEqual(status, 0);
    assert.match(lab().log('gateway', 'second'), /already|running|in use/i);
    assert.equal((await lab().transfer({ direction: 'down', bytes: MEGABYTE })).sha256Match, true);
    assert.match((await seen()) ?? '', /^192\.0\.2\./);
  });

  it('an invalid configuration changes nothing; a valid one is taken up by SIGHUP', async () => {
    const path = lab().configPath('gateway');
    writeFileSync(path, 'roles = ["access"]\nrlocs = 7\n');
    await assert.rejects(lab().api('gateway', 'configReload'), /422/);
    assert.equal((await lab().transfer({ direction: 'down', bytes: MEGABYTE })).sha256Match, true);
    assert.match((await seen()) ?? '', /^192\.0\.2\./);

    lab().writeConfig('gateway', {
      extraKeys: { 'gateway:intercept': `exclude = ["${addresses.serverPrefix(4)}"]` },
    });
    await lab().signal('gateway', 'amptcpd', 'HUP');
    await waitFor('the exclusion to work', async () => (await seen()) === addresses.client(4), 10_000, 100);
    await lab().reload('gateway');
    await waitFor(
      'the exclusion to be gone',
      async () => ((await seen()) ?? '').startsWith('192.0.2.'),
      10_000,
      100,
    );
  });

  it('a connection is killed by its number', async () => {
    const near = await client.connect(addresses.server(4), port);
    const far = await server.accepted(port, accepted++);
    const { localPort } = await near.state();
    const { id } = await connection(
      lab(),
      port,
      ({ state, client: { port: from } }) => state === 'established' && from === localPort,
    );
    await lab().api('gateway', 'connectionKill', { params: { id } });
    assert.equal((await near.waitFor('closed', ({ closed }) => closed)).error, 'ECONNRESET');
    assert.equal((await far.waitFor('closed', ({ closed }) => closed)).error, 'ECONNRESET');
    await idle(lab());
  });

  it('killed by -9: new connections pass unproxied within a second', async () => {
    await lab().stopDaemon('gateway', 'KILL');
    const killed = performance.now();
    assert.equal(await seen(), addresses.client(4));
    assert.ok(performance.now() - killed < 1000, `took ${performance.now() - killed} ms`);
    assert.equal((await lab().transfer({ direction: 'down', bytes: MEGABYTE })).sha256Match, true);
  });

  it('started again after that: cleans up and works', async () => {
    await lab().startDaemon('gateway');
    await waitFor('interception', async () => ((await seen()) ?? '').startsWith('192.0.2.'), 10_000, 100);
    assert.equal((await lab().transfer({ direction: 'up', bytes: MEGABYTE })).sha256Match, true);
  });

  it('SIGTERM: drains what runs for a bounded time and leaves nothing behind', async () => {
    const near = await client.connect(addresses.server(4), port);
    await server.accepted(port, accepted++);
    await connection(lab(), port, (found) => found.state === 'established');
    // A short transfer under way is allowed to end: at 200 Mbit/s it needs about half of the 3 s.
    const running = lab().transfer({ direction: 'down', bytes: 30 * MEGABYTE });
    running.catch(() => undefined);
    await connection(lab(), PORTS.http, (found) => found.bytes.down > 0);
    const asked = performance.now();
    const over = lab().stopDaemon('gateway');
    assert.equal((await running).sha256Match, true);
    assert.equal(await over, 0);
    assert.ok(performance.now() - asked < 8000, 'the drain was not bounded');
    await near.waitFor('closed', ({ closed }) => closed);
    assert.equal(existsSync(lab().socket('gateway')), false);
    assert.deepEqual(await hostNetwork(lab()), clean);
    assert.equal(await seen(), addresses.client(4));
  });

  it('a daemon in another role leaves nothing behind either', async () => {
    await lab().stopDaemon('dc2');
    const { stdout } = await lab().run('dc2', ['ip', '-br', 'link']);
    assert.doesNotMatch(stdout, /lisp0/);
    const rules = await lab().run('dc2', ['ip', 'rule']);
    assert.equal(rules.stdout.trim().split('\n').length, 3);
  });
});

const split = skip || (process.getuid?.() !== 0 && 'changing the user needs root');

describe('privileged parent, unprivileged daemon', { skip: split }, () => {
  let clean: Record<string, string>;
  const lab = sharedLab({ rlocs: 2, rateMbps: 100, user: 'nobody' }, async (made) => {
    await made.startServers();
    clean = await hostNetwork(made);
    await made.run(undefined, ['chown', '-R', 'nobody', join(made.directory, 'gateway')]);
    await made.startDaemons();
  });

  /** Process numbers inside the lab: the guard, and the daemon it has started. */
  const daemonPid = async (): Promise<number> => (await lab().api('gateway', 'status')).pid;
  const guardPid = (): number => lab().pid('gateway', 'amptcpd');

  it('the daemon is another user and works', async () => {
    const pid = await daemonPid();
    assert.notEqual(pid, guardPid());
    const { stdout } = await lab().run('gateway', ['grep', '-E', '^(Uid|CapEff)', `/proc/${pid}/status`]);
    assert.doesNotMatch(stdout, /^Uid:\s+0\b/m);
    // Nothing beyond CAP_NET_ADMIN (12) and CAP_NET_RAW (13).
    const effective = BigInt(`0x${/CapEff:\s+([0-9a-f]+)/.exec(stdout)![1]}`);
    assert.equal(effective & ~((1n << 12n) | (1n << 13n)), 0n);
    // Yet the LISP plane is where it would be without `user`: the guard has loaded the eBPF programs.
    const { plane } = await lab().api('gateway', 'status');
    assert.equal(plane?.kind, refusal(nativePart('bpf')) === undefined ? 'kernel' : 'user');
    for (const direction of ['up', 'down'] as const) {
      assert.equal((await lab().transfer({ direction, bytes: 10 * MEGABYTE })).sha256Match, true);
    }
  });

  it('reload works without privilege', async () => {
    await lab().reload('gateway');
    assert.equal((await lab().transfer({ direction: 'down', bytes: MEGABYTE })).sha256Match, true);
  });

  it('the daemon killed by -9: unproxied within a second, then back', async () => {
    const pid = await daemonPid();
    await lab().run('gateway', ['kill', '-KILL', String(pid)]);
    // A connection that comes while the dead daemon's listener is being closed gets a reset; the next ones pass.
    await waitFor(
      'a new connection to pass',
      async () => {
        const curl = [
          'curl',
          '-s',
          '--noproxy',
          '*',
          '--max-time',
          '1',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
        ];
        const { stdout } = await lab().run('client', [...curl, lab().url('/bytes/100')], { tolerant: true });
        return stdout === '200';
      },
      1000,
    );
    await waitFor('the guard to start another', async () => {
      const status = await lab().api('gateway', 'status');
      return status.pid !== pid && status.state === 'running';
    }, 15_000); // prettier-ignore
    const before = (await lab().api('gateway', 'status')).connections.total;
    assert.equal((await lab().transfer({ direction: 'down', bytes: MEGABYTE })).sha256Match, true);
    assert.ok((await lab().api('gateway', 'status')).connections.total > before);
  });

  it('the guard killed by -9: the daemon ends, connections pass', async () => {
    const pid = await daemonPid();
    await lab().signal('gateway', 'amptcpd', 'KILL');
    await waitFor('the daemon to end', async () => {
      const { status } = await lab().run('gateway', ['kill', '-0', String(pid)], { tolerant: true });
      return status !== 0;
    });
    assert.equal((await lab().transfer({ direction: 'down', bytes: MEGABYTE })).sha256Match, true);
  });

  it('SIGTERM to the guard: everything is removed', async () => {
    await lab().startDaemon('gateway');
    assert.deepEqual(await connections(lab()), []);
    assert.equal(await lab().stopDaemon('gateway'), 0);
    assert.deepEqual(await hostNetwork(lab()), clean);
  });
});
