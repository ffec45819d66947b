// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { plan, type LocalRloc } from '../../../src/gateway/plan.js';
import { pathKey, type Locator, type Mapping, type PathState } from '../../../src/lisp/mapping.js';
import { addressFamily } from '../../../src/lisp/prefix.js';

const locator = (rloc: string, fields: Partial<Locator> = {}): Locator => ({
  rloc,
  priority: 1,
  weight: 50,
  reachable: true,
  ...fields,
});
const local = (address: string, fields: Partial<LocalRloc> = {}): LocalRloc => ({
  address,
  priority: 1,
  weight: 50,
  ...fields,
});
const mapping = (...locators: Locator[]): Mapping => ({
  iid: 0,
  eid: '198.18.1.0/24',
  locators,
  action: 'no-action',
  ttlSeconds: 900,
  source: 'map-reply',
});
const states =
  (table: Record<string, PathState>, otherwise: PathState = 'unknown') =>
  (path: { local: string; remote: string }): PathState =>
    table[pathKey(path)] ?? otherwise;
const keys = (...args: Parameters<typeof plan>): string[] => plan(...args).map(pathKey);

const L1 = '203.0.113.2';
const L2 = '203.0.114.2';
const R1 = '203.0.123.2';
const R2 = '203.0.124.2';
const R3 = '203.0.125.2';
const LOCALS = [local(L1), local(L2)];
const FOUR = { maxPaths: 4 };

describe('plan', () => {
  it('pairs the n-th remote RLOC with the n-th local one, whatever order they come in', () => {
    const expected = [`${L1}>${R1}`, `${L2}>${R2}`];
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), LOCALS, states({}), FOUR), expected);
    assert.deepEqual(
      keys(mapping(locator(R2), locator(R1)), [local(L2), local(L1)], states({}), FOUR),
      expected,
    );
  });

  it('opens on a path probed up', () => {
    assert.deepEqual(
      keys(mapping(locator(R1), locator(R2)), LOCALS, states({ [`${L2}>${R2}`]: 'up' }), FOUR),
      [`${L2}>${R2}`, `${L1}>${R1}`],
    );
  });

  it('does not pair crosswise because the probes across were answered first', () => {
    const early = states({ [`${L1}>${R2}`]: 'up', [`${L2}>${R1}`]: 'up' });
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), LOCALS, early, FOUR), [
      `${L1}>${R1}`,
      `${L2}>${R2}`,
    ]);
  });

  it('never uses a path that is down, and pairs around it', () => {
    assert.deepEqual(
      keys(
        mapping(locator(R1), locator(R2)),
        LOCALS,
        states({ [`${L1}>${R1}`]: 'down', [`${L2}>${R1}`]: 'up', [`${L1}>${R2}`]: 'up' }),
        FOUR,
      ),
      [`${L2}>${R1}`, `${L1}>${R2}`],
    );
    assert.deepEqual(keys(mapping(locator(R1)), [local(L1)], states({}, 'down'), FOUR), []);
  });

  it('takes the best priority that has a usable RLOC, 255 and unreachable ones never', () => {
    const three = mapping(
      locator(R1, { priority: 1 }),
      locator(R2, { priority: 2 }),
      locator(R3, { priority: 255 }),
    );
    assert.deepEqual(keys(three, LOCALS, states({}), FOUR), [`${L1}>${R1}`]);
    const down = states({ [`${L1}>${R1}`]: 'down', [`${L2}>${R1}`]: 'down' });
    assert.deepEqual(keys(three, LOCALS, down, FOUR), [`${L1}>${R2}`]);
    assert.deepEqual(keys(mapping(locator(R3, { priority: 255 })), LOCALS, states({}), FOUR), []);
    assert.deepEqual(keys(mapping(locator(R3, { reachable: false })), LOCALS, states({}), FOUR), []);
  });

  it('leaves a local RLOC of worse priority alone while a better one works', () => {
    const locals = [local(L1), local(L2, { priority: 2 })];
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), locals, states({}), FOUR), [
      `${L1}>${R1}`,
      `${L1}>${R2}`,
    ]);
    const down = states({ [`${L1}>${R1}`]: 'down', [`${L1}>${R2}`]: 'down' });
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), locals, down, FOUR), [
      `${L2}>${R1}`,
      `${L2}>${R2}`,
    ]);
  });

  it('orders by weight, and cuts to the number of paths allowed', () => {
    const weighted = mapping(locator(R1, { weight: 10 }), locator(R2, { weight: 90 }));
    assert.deepEqual(keys(weighted, LOCALS, states({}), FOUR), [`${L2}>${R2}`, `${L1}>${R1}`]);
    assert.deepEqual(keys(weighted, LOCALS, states({}), { maxPaths: 1 }), [`${L2}>${R2}`]);
  });

  it('shares local RLOCs where there are more remote ones', () => {
    const paths = plan(mapping(locator(R1), locator(R2), locator(R3)), LOCALS, states({}), FOUR);
    assert.deepEqual(paths.map(({ remote }) => remote).sort(), [R1, R2, R3]);
    assert.equal(new Set(paths.map(({ local: own }) => own)).size, 2);
  });

  it('leaves pairs in use alone when an RLOC goes', () => {
    const before = plan(mapping(locator(R1), locator(R2)), LOCALS, states({}), FOUR);
    assert.deepEqual(keys(mapping(locator(R2)), LOCALS, states({}), FOUR, before), [`${L2}>${R2}`]);
    assert.deepEqual(keys(mapping(locator(R2)), LOCALS, states({}), FOUR), [`${L1}>${R2}`]);
    const up = states({ [`${L1}>${R2}`]: 'up' });
    assert.deepEqual(keys(mapping(locator(R2)), LOCALS, up, FOUR, before), [`${L2}>${R2}`]);
  });

  it('goes back to local RLOCs of their own when that is possible again', () => {
    const shared = [
      { local: L1, remote: R1 },
      { local: L1, remote: R2 },
    ];
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), LOCALS, states({}), FOUR, shared), [
      `${L1}>${R1}`,
      `${L2}>${R2}`,
    ]);
  });

  it('gives up an RLOC whose path went down rather than crowd another one on a guess', () => {
    const table = { [`${L1}>${R1}`]: 'up', [`${L2}>${R2}`]: 'down' } as const;
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), LOCALS, states(table), FOUR), [`${L1}>${R1}`]);
    const crossed = states({ ...table, [`${L1}>${R2}`]: 'up' });
    assert.deepEqual(keys(mapping(locator(R1), locator(R2)), LOCALS, crossed, FOUR), [
      `${L1}>${R1}`,
      `${L1}>${R2}`,
    ]);
  });

  it('does not mix address families', () => {
    const six = '2001:db8:1::2';
    assert.deepEqual(
      keys(mapping(locator(R1), locator('2001:db8:2::2')), [local(L1), local(six)], states({}), FOUR),
      [`${L1}>${R1}`, `${six}>2001:db8:2::2`],
    );
    assert.deepEqual(keys(mapping(locator('2001:db8:2::2')), LOCALS, states({}), FOUR), []);
  });

  it('always yields distinct remotes, usable pairs, and every remote that has one', () => {
    const remotes = [R1, R2, R3, '203.0.126.2', '2001:db8:2::2', '2001:db8:3::2'];
    const locals = [L1, L2, '203.0.115.2', '2001:db8:1::2'];
    const state = fc.constantFrom<PathState>('up', 'down', 'unknown');
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.constantFrom(...remotes), { minLength: 0 }),
        fc.uniqueArray(fc.constantFrom(...locals), { minLength: 0 }),
        fc.array(state, { minLength: 24, maxLength: 24 }),
        fc.integer({ min: 1, max: 8 }),
        (chosen, own, table, maxPaths) => {
          const stateOf = (path: { local: string; remote: string }): PathState =>
            table[locals.indexOf(path.local) * remotes.length + remotes.indexOf(path.remote)]!;
          const paths = plan(
            mapping(...chosen.map((rloc) => locator(rloc))),
            own.map((a) => local(a)),
            stateOf,
            {
              maxPaths,
            },
          );
          assert.equal(new Set(paths.map(({ remote }) => remote)).size, paths.length);
          for (const path of paths) {
            assert.notEqual(stateOf(path), 'down');
            assert.equal(addressFamily(path.local), addressFamily(path.remote));
            assert.ok(own.includes(path.local) && chosen.includes(path.remote));
          }
          const upTo = (least: readonly PathState[]): string[] =>
            chosen.filter((remote) =>
              own.some(
                (a) =>
                  addressFamily(a) === addressFamily(remote) && least.includes(stateOf({ local: a, remote })),
              ),
            );
          assert.ok(paths.length <= Math.min(maxPaths, upTo(['up', 'unknown']).length));
          assert.ok(paths.length >= Math.min(maxPaths, upTo(['up']).length));
          if (upTo(['up', 'unknown']).length > 0) assert.ok(paths.length > 0);
          const order = paths.map((path) => (stateOf(path) === 'up' ? 0 : 1));
          assert.deepEqual(order, [...order].sort());
        },
      ),
    );
  });
});
