// SPDX-License-Identifier: BSD-2-Clause

/** source = "client": the server sees the client's own address, which is then an EID of the gateway's site. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PORTS } from '../../src/lab/configs.js';
import { judgeWire } from '../../src/lab/judge.js';
import { type Family, addresses } from '../../src/lab/topology.js';
import { Agent } from './agent-client.js';
import { connection, established, idle, sharedLab, skip } from './support.js';

for (const family of [4, 6] as Family[]) {
  describe(`the client's own address over IPv${family}`, { skip }, () => {
    const lab = sharedLab({ rlocs: 2, rateMbps: 100, family, source: 'client' });
    let client: Agent;
    let server: Agent;
    before(async () => {
      client = await Agent.start(lab(), 'client');
      server = await Agent.start(lab(), 'server', { mptcp: true });
    });
    after(async () => {
      await client?.close();
      await server?.close();
    });

    it('the server sees the client, and two subflows carry', async () => {
      const port = PORTS.tests.from;
      await server.listen(port, { echo: true });
      const near = await client.connect(addresses.server(family), port);
      const far = await server.accepted(port);
      assert.equal((await far.state()).remote, addresses.client(family));
      await near.write('echo', 200_000);
      await connection(lab(), port, (found) => established(found) === 2);
      await near.end();
      const end = await near.waitFor('ended', ({ ended }) => ended);
      assert.equal(end.received, 200_000);
      await idle(lab());
    });

    it('upload and download', async () => {
      for (const direction of ['up', 'down'] as const) {
        const wire = await lab().wireFlows();
        const result = await lab().transfer({ direction, bytes: 10_000_000 });
        assert.equal(result.sha256Match, true);
        const judgement = judgeWire(lab(), wire, await lab().wireFlows(), PORTS.http);
        assert.deepEqual(judgement.failures, []);
        assert.equal(judgement.subflows, 2);
      }
    });
  });
}
