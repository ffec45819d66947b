// SPDX-License-Identifier: BSD-2-Clause

/**
 * What happens to a transfer when the world changes under it: a provider drops everything and comes back, the mapping
 * loses and regains an RLOC (SMR, RFC 9301 section 6.1), the server moves to a site with other RLOCs.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PORTS } from '../../src/lab/configs.js';
import type { Lab } from '../../src/lab/lab.js';
import { waitFor } from '../../src/lab/process.js';
import { type Family, addresses, uplink } from '../../src/lab/topology.js';
import { connection, established, idle, sharedLab, skip } from './support.js';

const RATE = 60;
const MEGABYTE = 1_000_000;

/** When how much had arrived at the client. */
class Timeline {
  readonly samples: { at: number; bytes: number }[] = [];

  readonly onBytes = (bytes: number): void => {
    this.samples.push({ at: performance.now(), bytes });
  };

  bytesAt(time: number): number {
    let bytes = 0;
    for (const sample of this.samples) {
      if (sample.at > time) break;
      bytes = sample.bytes;
    }
    return bytes;
  }

  mbps(from: number, to: number): number {
    return ((this.bytesAt(to) - this.bytesAt(from)) * 8) / (to - from) / 1000;
  }

  /** Milliseconds after `since` from when on a window's rate is at least `mbps`. */
  recovery(since: number, mbps: number, windowMs = 500): number | undefined {
    const last = this.samples.at(-1)?.at ?? 0;
    for (let at = since; at + windowMs <= last; at += 20)
      if (this.mbps(at, at + windowMs) >= mbps) return at - since;
    return undefined;
  }
}

const remotes = (found: Awaited<ReturnType<typeof connection>>): string[] =>
  found.subflows
    .filter(({ state }) => state === 'established')
    .map(({ path }) => path?.remote ?? '')
    .sort();

async function startDownload(lab: Lab, megabytes: number) {
  const timeline = new Timeline();
  const running = lab.transfer({
    direction: 'down',
    bytes: megabytes * MEGABYTE,
    onBytes: timeline.onBytes,
    timeoutMs: 90_000,
  });
  // Whatever fails first is reported; this promise must not be an unhandled one meanwhile.
  running.catch(() => undefined);
  await connection(lab, PORTS.http, (found) => established(found) === 2);
  await waitFor('both providers to carry', () => timeline.bytesAt(performance.now()) > 2 * MEGABYTE);
  return { timeline, running };
}

for (const family of [4, 6] as Family[]) {
  describe(`changes during a transfer over IPv${family}`, { skip }, () => {
    const lab = sharedLab({ rlocs: 2, rateMbps: RATE, family });

    for (const cut of [1, 2]) {
      it(`provider ${cut} is cut without a word, and restored`, async () => {
        const { timeline, running } = await startDownload(lab(), 60);
        const cutAt = performance.now();
        await lab().cut(cut);
        const other = addresses.rloc(family, 1, 3 - cut);
        await connection(lab(), PORTS.http, (found) => remotes(found).join() === other, 5000);
        await waitFor('3 s to be seen', () => performance.now() > cutAt + 3600, 5000);
        const recovered = timeline.recovery(cutAt, RATE * 0.75);
        assert.ok(recovered !== undefined && recovered <= 3000, `throughput back after ${recovered} ms`);
        await lab().restore(cut);
        await connection(lab(), PORTS.http, (found) => established(found) === 2, 10_000);
        const before = (await lab().providerCounters())[cut - 1]!.down;
        await waitFor('the provider to carry again', async () => {
          return (await lab().providerCounters())[cut - 1]!.down - before > 500_000;
        });
        const result = await running;
        assert.equal(result.sha256Match, true);
        await idle(lab());
      });
    }

    it('an RLOC leaves the mapping and returns: the subflows follow', async () => {
      const { running } = await startDownload(lab(), 45);
      await lab().reload('dc1', { rlocs: 1 });
      const first = addresses.rloc(family, 1, 1);
      await connection(lab(), PORTS.http, (found) => remotes(found).join() === first);
      await lab().reload('dc1');
      await connection(lab(), PORTS.http, (found) => established(found) === 2);
      assert.equal((await running).sha256Match, true);
      await idle(lab());
    });

    // The way that carries the data is the one the far xTR has to learn, so each family takes another one.
    const direction = family === 4 ? 'down' : 'up';
    it(`plain TCP, ${direction}: leaves an RLOC that the site gives up, and a path that is cut`, async () => {
      const [first, second] = [1, 2].map((index) => addresses.rloc(family, 1, index));
      const carries = async (provider: number): Promise<void> => {
        const carried = async (): Promise<number> =>
          (await lab().providerCounters())[provider - 1]![direction];
        const before = await carried();
        await waitFor(
          `provider ${provider} to carry`,
          async () => (await carried()) - before > MEGABYTE,
          15_000,
        );
      };
      const on = (rloc: string | undefined): Promise<unknown> =>
        connection(lab(), PORTS.plain, (found) => found.protocol === 'tcp' && remotes(found).join() === rloc);
      const running = lab().transfer({
        direction,
        bytes: 45 * MEGABYTE,
        port: PORTS.plain,
        timeoutMs: 90_000,
      });
      running.catch(() => undefined);
      await on(first);
      await carries(1);
      await lab().reload('dc1', { without: 1 });
      await on(second);
      await carries(2);
      await lab().reload('dc1');
      await waitFor('the mapping to be whole', async () => {
        const { mappings } = await lab().api('gateway', 'mappingList');
        return mappings.some(({ locators }) => locators.some(({ rloc }) => rloc === first));
      });
      await lab().cut(2);
      await on(first);
      await carries(1);
      await lab().restore(2);
      assert.equal((await running).sha256Match, true);
      await idle(lab());
    });

    // IPv6 addresses go with the interface: bringing them back is the host's business.
    if (family === 4)
      it("a data centre's interface goes down and comes up: the R bit says so, the subflows follow", async () => {
        const { running } = await startDownload(lab(), 45);
        const [first, second] = [1, 2].map((index) => addresses.rloc(family, 1, index));
        const reachable = async (rloc: string): Promise<boolean | undefined> => {
          const { mappings } = await lab().api('gateway', 'mappingList');
          const all = mappings.flatMap(({ locators }) => locators);
          return all.find((locator) => locator.rloc === rloc)?.reachable;
        };
        await lab().run('dc1', ['ip', 'link', 'set', uplink(2), 'down']);
        await waitFor('the R bit to be cleared', async () => (await reachable(second!)) === false, 5000);
        await connection(lab(), PORTS.http, (found) => remotes(found).join() === first);
        await lab().run('dc1', ['ip', 'link', 'set', uplink(2), 'up']);
        await waitFor('the R bit to be set', async () => (await reachable(second!)) === true, 5000);
        await connection(lab(), PORTS.http, (found) => established(found) === 2);
        assert.equal((await running).sha256Match, true);
        await idle(lab());
      });

    it('the server moves to the other site, the connection stays', async () => {
      const { running } = await startDownload(lab(), 50);
      await lab().moveServer();
      const there = [1, 2].map((index) => addresses.rloc(family, 2, index)).join();
      await connection(lab(), PORTS.http, (found) => remotes(found).join() === there, 15_000);
      assert.equal((await running).sha256Match, true);
      await idle(lab());
      const again = await lab().transfer({ direction: 'up', bytes: 5 * MEGABYTE });
      assert.equal(again.sha256Match, true);
    });
  });
}
