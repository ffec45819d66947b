// SPDX-License-Identifier: BSD-2-Clause

/** Many idle connections at once: as many as this host has descriptors for, 10,000 where it can. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PORTS } from '../../src/lab/configs.js';
import { waitFor } from '../../src/lab/process.js';
import { addresses } from '../../src/lab/topology.js';
import { Agent } from './agent-client.js';
import { connections, idle, sharedLab, skip } from './support.js';

const WANTED = 10_000;

describe('idle connections', { skip }, () => {
  const lab = sharedLab({ rlocs: 1, rateMbps: 0 });

  /** Of a connection without an answer: what the gateway and the hosts say of it. */
  const whereItStands = async (clientPort: number): Promise<string> => {
    const proxied = (await connections(lab())).find(({ client: { port } }) => port === clientPort);
    const sockets = async (host: string, filter: string): Promise<string> => {
      const { stdout, stderr } = await lab().run(host, ['ss', '-Htanieo', filter], { tolerant: true });
      return `${host}:\n${stdout}${stderr}`;
    };
    const outgoing = proxied?.subflows[0]?.local.port;
    return [
      `port ${clientPort} has no answer; the gateway: ${JSON.stringify(proxied)}`,
      await sockets('client', `sport = ${clientPort}`),
      await sockets('gateway', `dport = ${clientPort}${outgoing ? ` or sport = ${outgoing}` : ''}`),
      outgoing ? await sockets('server', `dport = ${outgoing}`) : '',
    ].join('\n');
  };

  it(`${WANTED} of them, and a transfer beside them`, async (context) => {
    const limit = await lab().run(undefined, [
      'sh',
      '-c',
      'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"; ulimit -n',
    ]);
    // Two sockets a connection at the gateway, and some for everything else.
    const count = Math.min(WANTED, Math.floor((Number(limit.stdout) - 500) / 2));
    if (count < WANTED) context.diagnostic(`only ${count}: ${limit.stdout.trim()} descriptors a process`);
    const server = await Agent.start(lab(), 'server', { mptcp: true });
    const client = await Agent.start(lab(), 'client');
    const port = PORTS.tests.from;
    await server.listen(port, { greet: true, echo: true });
    const started = performance.now();
    const host = addresses.server(4);
    const { failed, silent } = await client.connectMany({
      prefix: 'idle', count, host, port, parallel: 100, deadlineMs: 120_000,
    }); // prettier-ignore
    if (silent.length > 0) context.diagnostic(await whereItStands(silent[0]!));
    assert.deepEqual({ failed, silent }, { failed: 0, silent: [] });
    const arrived = async (): Promise<boolean> => (await server.count()).connected === count;
    await waitFor('all to have arrived', arrived, 60_000, 250).catch(async (error: unknown) => {
      const { connected } = await server.count();
      const { connections } = await lab().api('gateway', 'status', { timeoutMs: 10_000 });
      context.diagnostic(`${connected} of ${count} arrived; the gateway: ${JSON.stringify(connections)}`);
      throw error;
    });
    context.diagnostic(`${count} connections in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    const status = await lab().api('gateway', 'status', { timeoutMs: 10_000 });
    assert.ok(status.connections.active >= count, `${status.connections.active} active`);
    const { stdout } = await lab().run('gateway', ['grep', 'VmRSS', `/proc/${status.pid}/status`]);
    context.diagnostic(`daemon: ${stdout.trim()}`);
    assert.equal((await lab().transfer({ direction: 'down', bytes: 5_000_000 })).sha256Match, true);
    assert.equal((await client.count()).connected, count);
    await client.close();
    await idle(lab(), 30_000);
    await server.close();
  });
});
