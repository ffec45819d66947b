// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  commonLength,
  comparePrefixes,
  prefixContains,
  prefixFromBytes,
  type Prefix,
} from '../../../src/lisp/prefix.js';
import { PrefixTable } from '../../../src/lisp/prefix-table.js';

/** Few distinct bits, so that prefixes meet. */
const prefix = fc
  .tuple(
    fc.constantFrom(4, 16),
    fc.array(fc.constantFrom(0, 128, 192, 255), { minLength: 2, maxLength: 2 }),
    fc.integer({ min: 0, max: 17 }),
  )
  .map(([size, head, length]) =>
    prefixFromBytes(
      Uint8Array.from({ length: size }, (_, index) => head[index] ?? 0),
      length,
    ),
  );

const step = fc.record({ remove: fc.boolean(), iid: fc.constantFrom(0, 1), prefix });

describe('PrefixTable', () => {
  it('does what a list does, slowly', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.array(step, { maxLength: 10 }),
        (steps, questions) => {
          const table = new PrefixTable<string>();
          const list = new Map<string, { iid: number; prefix: Prefix }>();
          for (const { remove, iid, prefix: each } of steps) {
            const key = `${iid} ${each.text}`;
            if (remove) assert.equal(table.delete(iid, each), list.delete(key));
            else {
              table.set(iid, each, key);
              list.set(key, { iid, prefix: each });
            }
          }
          assert.equal(table.size, list.size);
          const sorted = [...list].sort(
            ([, a], [, b]) => a.iid - b.iid || comparePrefixes(a.prefix, b.prefix),
          );
          assert.deepEqual(
            table.values(),
            sorted.map(([key]) => key),
          );
          for (const { iid, prefix: asked } of questions) {
            const covering = [...list]
              .filter(([, entry]) => entry.iid === iid && prefixContains(entry.prefix, asked))
              .sort(([, a], [, b]) => b.prefix.length - a.prefix.length)
              .map(([key]) => key);
            assert.deepEqual(table.matches(iid, asked), covering);
            assert.equal(table.match(iid, asked), covering[0]);
            assert.equal(
              table.match(iid, asked, (key) => key !== covering[0]),
              covering[1],
            );
            const inside = [...list]
              .filter(([, entry]) => entry.iid === iid && prefixContains(asked, entry.prefix))
              .map(([key]) => key);
            assert.deepEqual(table.within(iid, asked).sort(), inside.sort());
            const others = [...list.values()].filter(
              (entry) =>
                entry.iid === iid &&
                entry.prefix.family === asked.family &&
                !prefixContains(entry.prefix, asked),
            );
            assert.equal(
              table.longestShared(iid, asked),
              Math.max(-1, ...others.map((entry) => commonLength(entry.prefix, asked))),
            );
          }
        },
      ),
    );
  });
});
