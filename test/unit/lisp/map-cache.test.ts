// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MapCache } from '../../../src/lisp/map-cache.js';
import type { Mapping } from '../../../src/lisp/mapping.js';
import { VirtualClock } from './simulation.js';

const mapping = (eid: string, rlocs: string[], more: Partial<Mapping> = {}): Mapping => ({
  iid: 0,
  eid,
  locators: rlocs.map((rloc) => ({ rloc, priority: 1, weight: 50, reachable: true })),
  action: rlocs.length > 0 ? 'no-action' : 'natively-forward',
  ttlSeconds: 60,
  source: 'map-reply',
  ...more,
});

function cache(capacity?: number) {
  const clock = new VirtualClock();
  const events: string[] = [];
  const made = new MapCache(
    clock,
    (change) =>
      events.push(
        change.type === 'set'
          ? `set ${change.mapping.eid} ${change.mapping.source}`
          : `${change.reason} ${change.mapping.eid}`,
      ),
    capacity,
  );
  return { clock, events, cache: made };
}

describe('MapCache', () => {
  it('finds the longest match, per instance', () => {
    const { cache: it } = cache();
    it.learn(mapping('198.18.0.0/16', ['203.0.113.1']));
    it.learn(mapping('198.18.1.0/24', ['203.0.113.2']));
    it.learn(mapping('198.18.1.0/24', ['203.0.113.3'], { iid: 5 }));
    assert.equal(it.lookup(0, '198.18.1.1')?.locators[0]?.rloc, '203.0.113.2');
    assert.equal(it.lookup(0, '198.18.2.1')?.locators[0]?.rloc, '203.0.113.1');
    assert.equal(it.lookup(5, '198.18.1.1')?.locators[0]?.rloc, '203.0.113.3');
    assert.equal(it.lookup(5, '198.18.2.1'), undefined);
    assert.equal(it.lookup(0, '2001:db8::1'), undefined);
    assert.deepEqual(
      it.list().map(({ iid, eid }) => `${iid} ${eid}`),
      ['0 198.18.0.0/16', '0 198.18.1.0/24', '5 198.18.1.0/24'],
    );
  });

  it('lets learnt entries expire, and says so once', async () => {
    const { cache: it, clock, events } = cache();
    it.learn(mapping('198.18.1.0/24', ['203.0.113.2'], { ttlSeconds: 30 }));
    it.learn(mapping('198.18.2.0/24', ['203.0.113.2'], { ttlSeconds: 90 }));
    await clock.advance(29_999);
    assert.ok(it.lookup(0, '198.18.1.1'));
    await clock.advance(1);
    assert.equal(it.lookup(0, '198.18.1.1'), undefined);
    await clock.advance(3_600_000);
    assert.deepEqual(events.slice(2), ['expired 198.18.1.0/24', 'expired 198.18.2.0/24']);
    assert.equal(clock.pending, 0);
  });

  it('takes a refresh for no change, and other locators for one', async () => {
    const { cache: it, clock, events } = cache();
    it.learn(mapping('198.18.1.0/24', ['203.0.113.2']));
    await clock.advance(50_000);
    it.learn(mapping('198.18.1.0/24', ['203.0.113.2']));
    await clock.advance(50_000);
    assert.ok(it.lookup(0, '198.18.1.1'));
    it.learn(mapping('198.18.1.0/24', ['203.0.113.3']));
    assert.deepEqual(events, ['set 198.18.1.0/24 map-reply', 'set 198.18.1.0/24 map-reply']);
  });

  it('removes with a TTL of zero', () => {
    const { cache: it, events } = cache();
    it.learn(mapping('198.18.1.0/24', ['203.0.113.2']));
    it.learn(mapping('198.18.1.0/24', [], { ttlSeconds: 0 }));
    it.learn(mapping('198.18.9.0/24', [], { ttlSeconds: 0 }));
    assert.deepEqual(events.slice(1), ['deleted 198.18.1.0/24']);
  });

  it('believes no TTL of more than a day', async () => {
    const { cache: it, clock } = cache();
    it.learn(mapping('198.18.1.0/24', ['203.0.113.2'], { ttlSeconds: 0xffffffff * 60 }));
    await clock.advance(24 * 3600 * 1000);
    assert.equal(it.lookup(0, '198.18.1.1'), undefined);
  });

  it('ranks cli over static over learnt', () => {
    const { cache: it, events } = cache();
    it.learn(mapping('198.18.1.0/24', ['203.0.113.1']));
    it.learn(mapping('198.18.1.128/25', ['203.0.113.1']));
    it.configure(
      mapping('198.18.1.0/24', ['203.0.113.2'], { source: 'static', ttlSeconds: Infinity }) as never,
    );
    assert.deepEqual(events.slice(2), ['superseded 198.18.1.128/25', 'set 198.18.1.0/24 static']);
    assert.equal(it.learn(mapping('198.18.1.0/24', ['203.0.113.1'])), false);
    assert.equal(it.learn(mapping('198.18.1.64/26', ['203.0.113.1'])), false);
    it.configure(mapping('198.18.1.0/24', ['203.0.113.3'], { source: 'cli', ttlSeconds: Infinity }) as never);
    it.configure(
      mapping('198.18.1.0/24', ['203.0.113.4'], { source: 'static', ttlSeconds: Infinity }) as never,
    );
    assert.equal(it.lookup(0, '198.18.1.1')?.locators[0]?.rloc, '203.0.113.3');
    assert.equal(it.unconfigure(0, '198.18.1.0/24', 'cli'), true);
    assert.equal(it.unconfigure(0, '198.18.1.0/24', 'cli'), false);
    assert.equal(it.lookup(0, '198.18.1.1')?.locators[0]?.rloc, '203.0.113.4');
    assert.equal(it.unconfigure(0, '198.18.1.0/24', 'static'), true);
    assert.equal(it.lookup(0, '198.18.1.1'), undefined);
  });

  it('is bounded: what was not used for longest goes first', async () => {
    const { cache: it, clock } = cache(100);
    for (let index = 0; index < 150; index++) {
      it.learn(mapping(`10.0.${index}.0/24`, ['203.0.113.1']));
      await clock.advance(1);
      it.lookup(0, '10.0.0.1');
    }
    assert.ok(it.learntCount <= 100);
    assert.ok(it.lookup(0, '10.0.0.1'));
    assert.ok(it.lookup(0, '10.0.149.1'));
    assert.equal(it.lookup(0, '10.0.1.1'), undefined);
  });
});
