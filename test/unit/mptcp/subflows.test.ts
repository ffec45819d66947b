// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FIRST_PORT, LAST_PORT, LocalEndpoints, usableAddresses } from '../../../src/mptcp/ports.js';
import { REFUSED_WITHIN_MS, SubflowTable } from '../../../src/mptcp/subflows.js';

const remote = { address: '198.18.1.10', port: 443 };
const local = (port: number): { address: string; port: number } => ({ address: '192.0.2.1', port });
const table = (): SubflowTable => new SubflowTable({ local: local(1), remote }, 0);
const added = (subflows: SubflowTable, port: number, now = 0): number =>
  subflows.add(local(port), remote, { backup: false, now })!.id;

describe('SubflowTable', () => {
  it('has the first subflow from the beginning, with Address ID 0', () =>
    assert.deepEqual(
      table()
        .list()
        .map(({ id, state }) => [id, state]),
      [[0, 'established']],
    ));

  it('follows joining, established, closed', () => {
    const subflows = table();
    const id = added(subflows, 2);
    assert.equal(subflows.get(id)?.state, 'joining');
    assert.equal(subflows.established(local(2), remote, 10)?.id, id);
    assert.equal(subflows.established(local(2), remote, 11), undefined);
    const closed = subflows.closed(local(2), remote, 10 + REFUSED_WITHIN_MS);
    assert.equal(closed?.record.state, 'closed');
    assert.equal(closed?.refused, false);
    assert.equal(subflows.closed(local(2), remote, 20_000), undefined);
    assert.equal(subflows.limit, Infinity);
  });

  it('learns the limit of a peer that closes at once what it let in', () => {
    const subflows = table();
    for (const port of [2, 3, 4, 5]) {
      added(subflows, port);
      subflows.established(local(port), remote, 100);
    }
    for (const port of [4, 5]) assert.equal(subflows.closed(local(port), remote, 101)?.refused, true);
    assert.equal(subflows.limit, 2);
    assert.equal(subflows.full, true);
    // One of the two ends later: there is room again.
    assert.equal(subflows.closed(local(2), remote, 9000)?.refused, false);
    assert.equal(subflows.full, false);
  });

  it('does not take our own removal, the first subflow or a failed join for a refusal', () => {
    const subflows = table();
    const id = added(subflows, 2);
    subflows.established(local(2), remote, 100);
    subflows.markRemoving(id);
    assert.equal(subflows.closed(local(2), remote, 101)?.refused, false);
    added(subflows, 3);
    assert.equal(subflows.closed(local(3), remote, 102)?.refused, false);
    assert.equal(subflows.closed(local(1), remote, 1)?.refused, false);
    assert.equal(subflows.limit, Infinity);
  });

  it('does not mix up subflows of other endpoints', () => {
    const subflows = table();
    added(subflows, 2);
    assert.equal(subflows.established({ address: '192.0.2.2', port: 2 }, remote, 1), undefined);
    assert.equal(subflows.established(local(2), { ...remote, port: 80 }, 1), undefined);
    assert.equal(subflows.closed(undefined, remote, 1), undefined);
  });

  it('takes an Address ID again only after all others', () => {
    const subflows = table();
    const seen = new Set<number>();
    for (let round = 0; round < 254; round++) {
      const id = added(subflows, 1000 + round);
      assert.ok(!seen.has(id) && id >= 1 && id <= 254);
      seen.add(id);
      subflows.closed(local(1000 + round), remote, 0);
      subflows.prune(4);
    }
    assert.equal(added(subflows, 5000), 1);
  });

  it('has no ID when all are taken', () => {
    const subflows = table();
    for (let count = 0; count < 254; count++) added(subflows, 1000 + count);
    assert.equal(subflows.add(local(9), remote, { backup: false, now: 0 }), undefined);
  });

  it('remembers the latest closed ones', () => {
    const subflows = table();
    for (const port of [2, 3, 4]) {
      added(subflows, port);
      subflows.closed(local(port), remote, port);
    }
    assert.deepEqual(subflows.prune(1), [1, 2]);
    assert.deepEqual(
      subflows.list().map(({ id }) => id),
      [0, 3],
    );
  });
});

describe('LocalEndpoints', () => {
  it('goes round the ports of an address', () => {
    const endpoints = new LocalEndpoints(() => 0.999_999);
    assert.equal(endpoints.nextPort('192.0.2.1'), LAST_PORT);
    assert.equal(endpoints.nextPort('192.0.2.1'), FIRST_PORT);
    assert.equal(endpoints.nextPort('192.0.2.1'), FIRST_PORT + 1);
    assert.equal(endpoints.nextPort('192.0.2.2'), LAST_PORT);
  });

  it('takes the addresses of a prefix by turns, without network and broadcast address', () => {
    const endpoints = new LocalEndpoints(() => 0);
    const seen = Array.from({ length: 15 }, () => endpoints.nextAddress('192.0.2.0/28'));
    assert.equal(seen[0], '192.0.2.1');
    assert.equal(seen[13], '192.0.2.14');
    assert.equal(seen[14], '192.0.2.1');
  });

  it('knows small and wide prefixes', () => {
    assert.deepEqual(usableAddresses('192.0.2.1/32'), { base: '192.0.2.1', first: 0, count: 1 });
    assert.deepEqual(usableAddresses('192.0.2.0/31'), { base: '192.0.2.0', first: 0, count: 2 });
    assert.deepEqual(usableAddresses('2001:db8::/64'), { base: '2001:db8::', first: 1, count: 65_536 });
    assert.equal(new LocalEndpoints(() => 0.5).nextAddress('2001:db8::/64'), '2001:db8::8001');
  });

  it('never leaves the prefix', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 32 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (length, random) => {
          const endpoints = new LocalEndpoints(() => random);
          for (let turn = 0; turn < 4; turn++) {
            const address = endpoints.nextAddress(`10.0.0.0/${length}`);
            const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
            assert.ok(number - 10 * 2 ** 24 < 2 ** (32 - length), `${address} of /${length}`);
          }
        },
      ),
    );
  });
});
