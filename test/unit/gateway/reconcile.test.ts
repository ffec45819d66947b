// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { reconcile, type LiveSubflow, type ReconcileInput } from '../../../src/gateway/reconcile.js';
import { pathKey, type Path } from '../../../src/lisp/mapping.js';

const path = (index: number): Path => ({ local: `203.0.113.${index}`, remote: `203.0.123.${index}` });
const [A, B, C, D] = [path(1), path(2), path(3), path(4)];
const subflow = (id: number, on: Path, fields: Partial<LiveSubflow> = {}): LiveSubflow => ({
  id,
  path: on,
  state: 'established',
  proven: true,
  stale: false,
  manual: false,
  ...fields,
});
const input = (fields: Partial<ReconcileInput>): ReconcileInput => ({
  subflows: [],
  wanted: [],
  blocked: new Set(),
  full: false,
  ...fields,
});

describe('reconcile', () => {
  it('adds a subflow per further path', () => {
    assert.deepEqual(reconcile(input({ subflows: [subflow(0, A)], wanted: [A, B, C] })), {
      add: [B, C],
      remove: [],
    });
  });
  it('does nothing when all is as it should be', () => {
    assert.deepEqual(
      reconcile(input({ subflows: [subflow(0, A), subflow(1, B, { state: 'joining' })], wanted: [B, A] })),
      { add: [], remove: [] },
    );
  });
  it('removes what is no longer wanted while another works', () => {
    assert.deepEqual(reconcile(input({ subflows: [subflow(0, A), subflow(1, B)], wanted: [B] })), {
      add: [],
      remove: [0],
    });
  });
  it('moves to another site: adds first', () => {
    const before = [subflow(0, A), subflow(1, B)];
    assert.deepEqual(reconcile(input({ subflows: before, wanted: [C, D] })), { add: [C, D], remove: [] });
    const joining = [...before, subflow(2, C, { state: 'joining' }), subflow(3, D, { state: 'joining' })];
    assert.deepEqual(reconcile(input({ subflows: joining, wanted: [C, D] })), { add: [], remove: [] });
    const young = [...before, subflow(2, C, { proven: false }), subflow(3, D, { proven: false })];
    assert.deepEqual(reconcile(input({ subflows: young, wanted: [C, D] })), { add: [], remove: [] });
    const joined = [...before, subflow(2, C), subflow(3, D, { state: 'joining' })];
    assert.deepEqual(reconcile(input({ subflows: joined, wanted: [C, D] })), { add: [], remove: [0, 1] });
  });
  it('makes room for the move when the peer is full', () => {
    const before = [subflow(0, A), subflow(1, B)];
    assert.deepEqual(reconcile(input({ subflows: before, wanted: [C, D], full: true })), {
      add: [],
      remove: [0],
    });
    assert.deepEqual(reconcile(input({ subflows: [subflow(1, B)], wanted: [C, D], full: true })), {
      add: [],
      remove: [],
    });
  });
  it('never removes anything when no path is left', () => {
    assert.deepEqual(
      reconcile(input({ subflows: [subflow(0, A), subflow(1, B, { stale: true })], wanted: [] })),
      {
        add: [],
        remove: [],
      },
    );
  });
  it('replaces a subflow that lived through an outage of its path', () => {
    const stale = subflow(0, A, { stale: true });
    assert.deepEqual(reconcile(input({ subflows: [stale], wanted: [A] })), { add: [A], remove: [] });
    assert.deepEqual(reconcile(input({ subflows: [stale, subflow(1, A)], wanted: [A] })), {
      add: [],
      remove: [0],
    });
  });
  it('leaves what the operator added', () => {
    const own = subflow(1, C, { manual: true });
    assert.deepEqual(reconcile(input({ subflows: [subflow(0, A), own], wanted: [A] })), {
      add: [],
      remove: [],
    });
  });
  it('does not try blocked paths, nor a full peer', () => {
    const subflows = [subflow(0, A)];
    assert.deepEqual(reconcile(input({ subflows, wanted: [A, B], blocked: new Set([pathKey(B)]) })).add, []);
    assert.deepEqual(reconcile(input({ subflows, wanted: [A, B], full: true })).add, []);
  });

  const arbitraryPath = fc.integer({ min: 1, max: 5 }).map(path);
  const arbitrary = fc.record({
    subflows: fc
      .array(
        fc.record({
          path: arbitraryPath,
          state: fc.constantFrom<LiveSubflow['state']>('joining', 'established'),
          proven: fc.boolean(),
          stale: fc.boolean(),
          manual: fc.boolean(),
        }),
        { maxLength: 7 },
      )
      .map((list) => list.map((fields, id) => ({ id, ...fields }))),
    wanted: fc.uniqueArray(arbitraryPath, { selector: pathKey }),
    blocked: fc.array(arbitraryPath).map((paths) => new Set(paths.map(pathKey))),
    full: fc.boolean(),
  });
  const established = (subflows: readonly LiveSubflow[]): LiveSubflow[] =>
    subflows.filter(({ state }) => state === 'established');

  it('never removes the last established subflow', () => {
    fc.assert(
      fc.property(arbitrary, (given) => {
        const { remove } = reconcile(given);
        const left = given.subflows.filter(({ id }) => !remove.includes(id));
        if (established(given.subflows).length > 0) assert.ok(established(left).length > 0);
        else assert.deepEqual(remove, []);
      }),
    );
  });
  it('adds only wanted, free, unblocked paths, each once', () => {
    fc.assert(
      fc.property(arbitrary, (given) => {
        const { add } = reconcile(given);
        const fresh = new Set(
          given.subflows.filter(({ stale }) => !stale).map((entry) => pathKey(entry.path)),
        );
        assert.equal(new Set(add.map(pathKey)).size, add.length);
        for (const key of add.map(pathKey)) {
          assert.ok(given.wanted.some((entry) => pathKey(entry) === key));
          assert.ok(!fresh.has(key) && !given.blocked.has(key) && !given.full);
        }
      }),
    );
  });
  it('touches nothing of the operator', () => {
    fc.assert(
      fc.property(arbitrary, (given) => {
        const { remove } = reconcile(given);
        assert.ok(given.subflows.every(({ id, manual }) => !manual || !remove.includes(id)));
      }),
    );
  });
  it('comes to rest with one subflow per wanted path when everything succeeds', () => {
    fc.assert(
      fc.property(arbitrary, fc.integer({ min: 0, max: 5 }), (given, start) => {
        let subflows: LiveSubflow[] = [
          subflow(100, path(Math.max(1, start))),
          ...given.subflows.filter(({ manual }) => !manual),
        ];
        let next = 200;
        const state = { ...given, blocked: new Set<string>(), full: false };
        let rounds = 0;
        for (; rounds < 10; rounds++) {
          const { add, remove } = reconcile({ ...state, subflows });
          if (add.length === 0 && remove.length === 0) break;
          subflows = [
            ...subflows.filter(({ id }) => !remove.includes(id)),
            ...add.map((entry) => subflow(next++, entry)),
          ].map((entry) => ({ ...entry, state: 'established' as const, proven: true }));
        }
        assert.ok(rounds < 10);
        if (state.wanted.length > 0) {
          const all = subflows.map((entry) => ({ ...entry, state: 'established' as const, proven: true }));
          const { add, remove } = reconcile({ ...state, subflows: all });
          const rest = all.filter(({ id }) => !remove.includes(id));
          assert.deepEqual(add, []);
          assert.deepEqual(rest.map((entry) => pathKey(entry.path)).sort(), state.wanted.map(pathKey).sort());
        }
      }),
    );
  });
});
