// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { nativeRoutes, type Forwarded } from '../../../src/lisp/native-routes.js';
import { parsePrefix, prefixContains } from '../../../src/lisp/prefix.js';

const natively = (...eids: string[]): Forwarded[] => eids.map((eid) => ({ eid, native: true }));
const byLisp = (...eids: string[]): Forwarded[] => eids.map((eid) => ({ eid, native: false }));

describe('what is routed into the LISP device', () => {
  it('is what is configured, less what is forwarded natively', () => {
    const routes = ['198.18.0.0/22', '2001:db8::/32'];
    assert.deepEqual(nativeRoutes(routes, []).routes, routes);
    assert.deepEqual(nativeRoutes(routes, byLisp('198.18.1.0/24')).routes, routes);
    assert.deepEqual(nativeRoutes(routes, natively('198.18.1.0/24', '10.0.0.0/8')).routes, [
      '198.18.2.0/23',
      '198.18.0.0/24',
      '2001:db8::/32',
    ]);
    assert.deepEqual(nativeRoutes(routes, natively('198.0.0.0/8')).routes, ['2001:db8::/32']);
    assert.deepEqual(nativeRoutes(['2001:db8::/126'], natively('2001:db8::1/128')).routes, [
      '2001:db8::2/127',
      '2001:db8::/128',
    ]);
  });

  it('has what the longer mapping says', () => {
    const inside = [...natively('198.18.0.0/16', '198.18.1.128/25'), ...byLisp('198.18.1.0/24')];
    assert.deepEqual(nativeRoutes(['198.18.0.0/16'], inside).routes, ['198.18.1.0/25']);
    // What is not configured is not routed, whatever the mapping.
    assert.deepEqual(nativeRoutes(['198.18.0.0/16'], byLisp('10.0.0.0/8')).routes, ['198.18.0.0/16']);
    assert.deepEqual(
      nativeRoutes(['198.18.0.0/16'], [...natively('0.0.0.0/0'), ...byLisp('198.0.0.0/8')]).routes,
      ['198.18.0.0/16'],
    );
  });

  it('is as the longest match says for each address, and without overlap', () => {
    const prefix = fc
      .tuple(fc.nat(255), fc.integer({ min: 24, max: 32 }))
      .map(([host, length]) => parsePrefix(`192.0.2.${host & (0xff << (32 - length))}/${length}`).text);
    fc.assert(
      fc.property(
        fc.uniqueArray(prefix, { maxLength: 4 }),
        fc.uniqueArray(fc.record({ eid: prefix, native: fc.boolean() }), {
          selector: ({ eid }) => eid,
          maxLength: 8,
        }),
        (routes, mappings) => {
          const apart = routes.filter(
            (route) => !routes.some((other) => other !== route && prefixContains(other, route)),
          );
          const result = nativeRoutes(apart, mappings).routes;
          for (let host = 0; host < 256; host++) {
            const address = `192.0.2.${host}`;
            const best = mappings
              .filter(({ eid }) => prefixContains(eid, address))
              .sort((a, b) => parsePrefix(b.eid).length - parsePrefix(a.eid).length)[0];
            const wanted = apart.some((route) => prefixContains(route, address)) && best?.native !== true;
            assert.equal(
              result.filter((route) => prefixContains(route, address)).length,
              wanted ? 1 : 0,
              address,
            );
          }
        },
      ),
    );
  });

  it('does not grow without end', () => {
    const holes = Array.from({ length: 500 }, (_, n) => `2001:db8:${n.toString(16)}::1/128`);
    const { routes, left } = nativeRoutes(['2001:db8::/32'], natively(...holes));
    assert.ok(routes.length <= 2048);
    assert.ok(left.length > 0 && left.length < 500);
    // What is left stays with LISP.
    for (const eid of left) assert.ok(routes.some((route) => prefixContains(route, eid)));
  });
});
