// SPDX-License-Identifier: BSD-2-Clause

/**
 * Real clients through the gateway, for one address family:
 *
 *   client (curl, agent) -> TPROXY, relay, MPTCP in the gateway -> LISP over two providers -> dc1 -> server
 *
 * Everything that passes is captured, and judged by tshark at the end.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PORTS } from '../../src/lab/configs.js';
import { judgeWire } from '../../src/lab/judge.js';
import { CurlError } from '../../src/lab/lab.js';
import { waitFor } from '../../src/lab/process.js';
import { prefixContains } from '../../src/lisp/prefix.js';
import { type Family, addresses } from '../../src/lab/topology.js';
import { Agent } from './agent-client.js';
import { connection, connections, established, idle, sharedLab, skip } from './support.js';
import { type Capture, capture, dissect } from './wire.js';

const RATE = 150;
const MEGABYTE = 1_000_000;

export function transferTests(family: Family): void {
  describe(`transfers over IPv${family}`, { skip }, () => {
    const lab = sharedLab({ rlocs: 2, rateMbps: RATE, family });
    let recording: Capture;
    let client: Agent;
    let server: Agent;
    const at = addresses.server(family);
    const port = PORTS.tests.from;

    before(async () => {
      recording = await capture(lab(), 'capture');
      client = await Agent.start(lab(), 'client');
      server = await Agent.start(lab(), 'server', { mptcp: true });
      await server.listen(port);
      await server.listen(port + 1, { echo: true });
    });
    after(async () => {
      await client?.close();
      await server?.close();
    });

    let accepted = 0;
    const pair = async () => {
      const near = await client.connect(at, port);
      const far = await server.accepted(port, accepted++);
      await near.waitFor('connected', ({ connected }) => connected);
      return { near, far };
    };

    for (const direction of ['up', 'down'] as const) {
      it(`${direction === 'up' ? 'upload' : 'download'}: both RLOCs, each by its own subflow`, async () => {
        const [wire, carried] = [await lab().wireFlows(), await lab().providerCounters()];
        const size = 15 * MEGABYTE;
        const result = await lab().transfer({ direction, bytes: size });
        assert.equal(result.sha256Match, true);
        const judgement = judgeWire(lab(), wire, await lab().wireFlows(), PORTS.http);
        assert.deepEqual(judgement.failures, []);
        assert.equal(judgement.subflows, 2);
        assert.equal(judgement.connections, 1);
        // That both carry at once; how much faster that is, the main job measures, with longer transfers.
        for (const [index, counters] of (await lab().providerCounters()).entries()) {
          const share = (counters[direction] - carried[index]![direction]) / size;
          assert.ok(share > 0.1, `provider ${index + 1} carried ${(share * 100).toFixed(0)} % of the file`);
        }
      });
    }

    it('upload and download at once', async () => {
      const [up, down] = await Promise.all([
        lab().transfer({ direction: 'up', bytes: 8 * MEGABYTE }),
        lab().transfer({ direction: 'down', bytes: 8 * MEGABYTE }),
      ]);
      assert.equal(up.sha256Match, true);
      assert.equal(down.sha256Match, true);
    });

    it('the API shows the connection with its subflows, paths and counters', async () => {
      const { near, far } = await pair();
      await near.write('shown', 500_000);
      const shown = await connection(
        lab(),
        port,
        (found) => established(found) === 2 && found.bytes.up === 500_000,
      );
      assert.equal(shown.protocol, 'mptcp');
      assert.equal(shown.client.address, addresses.client(family));
      assert.deepEqual(shown.destination, { address: at, port });
      assert.deepEqual(
        shown.subflows.map(({ path }) => path?.remote).sort(),
        [1, 2].map((index) => addresses.rloc(family, 1, index)),
      );
      await near.end();
      await far.end();
      await near.waitFor('closed', ({ closed }) => closed);
    });

    it('200 short connections', async () => {
      const before = (await lab().api('gateway', 'status')).connections;
      const { stdout } = await lab().run('client', [
        'curl', '--silent', '--show-error', '--noproxy', '*', '--parallel', '--parallel-max', '20', '--output', '/dev/null',
        '--header', 'Connection: close', '--write-out', '%{http_code} %{size_download} %{errormsg}\\n',
        // curl expands the brackets; those around an IPv6 address it leaves alone
        `${lab().url('/bytes/1000')}?id=short-[1-200]`,
      ], { timeoutMs: 60_000, tolerant: true }); // prettier-ignore
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => line.trim());
      assert.deepEqual(
        lines.filter((line) => line !== '200 1000'),
        [],
      );
      assert.equal(lines.length, 200);
      await waitFor('the gateway to have counted them', async () => {
        const now = (await lab().api('gateway', 'status')).connections;
        return now.total - before.total === 200 && now.failed === before.failed;
      });
      await idle(lab());
    });

    it('half-close by the client, the answer comes afterwards', async () => {
      const { near, far } = await pair();
      await near.write('question', 300_000);
      await near.end();
      const heard = await far.waitFor('ended', ({ ended }) => ended);
      assert.equal(heard.received, 300_000);
      assert.equal(heard.closed, false);
      await far.write('answer', 300_000);
      await far.end();
      const answered = await near.waitFor('ended', ({ ended }) => ended);
      assert.equal(answered.received, 300_000);
      assert.equal(answered.error, undefined);
      await near.waitFor('closed', ({ closed }) => closed);
      await far.waitFor('closed', ({ closed }) => closed);
      await idle(lab());
    });

    it('half-close by the server, the client goes on', async () => {
      const { near, far } = await pair();
      await far.write('greeting', 10_000);
      await far.end();
      const heard = await near.waitFor('ended', ({ ended }) => ended);
      assert.equal(heard.received, 10_000);
      await near.write('rest', 400_000);
      await near.end();
      const rest = await far.waitFor('ended', ({ ended }) => ended);
      assert.equal(rest.received, 400_000);
      await near.waitFor('closed', ({ closed }) => closed);
      await idle(lab());
    });

    it('reset by the client reaches the server', async () => {
      const { near, far } = await pair();
      await near.write('something', 1000);
      await far.waitFor('received', ({ received }) => received === 1000);
      await near.reset();
      const end = await far.waitFor('closed', ({ closed }) => closed);
      assert.equal(end.error, 'ECONNRESET');
      await idle(lab());
    });

    it('reset by the server reaches the client', async () => {
      const { near, far } = await pair();
      await near.write('something', 1000);
      await far.waitFor('received', ({ received }) => received === 1000);
      await far.reset();
      const end = await near.waitFor('closed', ({ closed }) => closed);
      assert.equal(end.error, 'ECONNRESET');
      await idle(lab());
    });

    it('back-pressure: a server that does not read stops the client, and loses nothing', async () => {
      const paused = port + 2;
      await server.listen(paused, { pause: true });
      const near = await client.connect(at, paused);
      const far = await server.accepted(paused);
      const size = 60 * MEGABYTE;
      await near.write('flood', size);
      // Full: two looks, some time apart, show the same count, and far less than all.
      let last = -1;
      const stuck = await waitFor(
        'the gateway to be full',
        async () => {
          const { up } = (await connection(lab(), paused)).bytes;
          if (up > 0 && up === last) return up;
          last = up;
          return undefined;
        },
        20_000,
        1000,
      );
      assert.ok(stuck < size, `${stuck} of ${size} octets went in`);
      assert.equal((await near.state()).flushed, false);
      await far.resume();
      await near.end();
      const all = await far.waitFor('all', ({ ended }) => ended, 30_000);
      assert.equal(all.received, size);
      await far.end();
      await idle(lab());
    });

    it('a refused server: the client gets a reset', async () => {
      const near = await client.connect(at, PORTS.closed);
      const end = await near.waitFor('closed', ({ closed }) => closed);
      assert.ok(end.error === 'ECONNRESET' || end.error === 'ECONNREFUSED', end.error);
      assert.equal(end.received, 0);
    });

    it('an unreachable server: the client gets a reset', async () => {
      const near = await client.connect(addresses.absent(family), PORTS.http);
      const end = await near.waitFor('closed', ({ closed }) => closed, 20_000);
      assert.ok(['ECONNRESET', 'EHOSTUNREACH', 'ETIMEDOUT'].includes(end.error ?? ''), end.error);
      await idle(lab());
    });

    it('a server without MPTCP: one subflow of plain TCP', async () => {
      const wire = await lab().wireFlows();
      const running = lab().transfer({ direction: 'down', bytes: 8 * MEGABYTE, port: PORTS.plain });
      const shown = await connection(lab(), PORTS.plain, (found) => found.protocol === 'tcp');
      assert.equal(established(shown), 1);
      assert.equal((await running).sha256Match, true);
      const judgement = judgeWire(lab(), wire, await lab().wireFlows(), PORTS.plain);
      assert.deepEqual(judgement.failures, []);
      assert.equal(judgement.subflows, 1);
      await idle(lab());
    });

    it('a destination without mapping passes, and is not intercepted again', async () => {
      const web = addresses.web(family);
      const first = await lab().transfer({ direction: 'down', bytes: MEGABYTE, address: web });
      assert.equal(first.sha256Match, true);
      await waitFor('the bypass to be there', async () =>
        (await lab().api('gateway', 'bypassList')).bypass.some(({ prefix }) =>
          prefixContains(prefix, `${web}/${family === 4 ? 32 : 128}`),
        ),
      );
      const before = (await lab().api('gateway', 'status')).connections;
      const second = await lab().transfer({ direction: 'up', bytes: MEGABYTE, address: web });
      assert.equal(second.sha256Match, true);
      const { total } = (await lab().api('gateway', 'status')).connections;
      assert.equal(total, before.total);
    });

    it('a client that leaves while the server side connects is forgotten', async () => {
      const near = await client.connect(addresses.absent(family), PORTS.http);
      await near.waitFor('connected', ({ connected }) => connected);
      await near.reset();
      await idle(lab(), 20_000);
      await assert.rejects(lab().transfer({ direction: 'down', bytes: 1000, port: PORTS.closed }), CurlError);
      assert.deepEqual(await connections(lab()), []);
    });

    it("tshark's judgement: nothing malformed, MP_JOIN on further subflows, each between its own RLOCs", async () => {
      const dissection = await dissect(await recording.stop(), family);
      assert.deepEqual(dissection.malformed, []);
      assert.ok(dissection.data > 4000, `${dissection.data} packets of data`);
      assert.ok(dissection.control > 0, 'no LISP control message');
      const astray = [...dissection.pairs].filter(([, pairs]) => pairs.size !== 1);
      assert.deepEqual(astray, []);
      assert.deepEqual(dissection.hasty, []);
      const joins = dissection.subflows.filter(({ join }) => join);
      const firsts = dissection.subflows.filter(({ join }) => !join);
      assert.ok(joins.length >= 4, `${joins.length} SYNs with MP_JOIN`);
      // A further subflow goes by another pair of RLOCs than the first one of its connection.
      const rlocs = new Set(dissection.subflows.map(({ outer }) => outer));
      assert.equal(rlocs.size, 2);
      for (const { outer, provider } of [...joins, ...firsts]) {
        assert.ok(outer.includes(addresses.rloc(family, 0, provider)), `${outer} on provider ${provider}`);
        assert.ok(outer.includes(addresses.rloc(family, 1, provider)), `${outer} on provider ${provider}`);
      }
    });
  });
}
