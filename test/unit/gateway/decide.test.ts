// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  decide,
  hostPrefix,
  knowledgeOf,
  type HoldLimits,
  type Policy,
} from '../../../src/gateway/decide.js';
import type { Mapping } from '../../../src/lisp/mapping.js';

const policy: Policy = { role: 'access', bypassSeconds: 15 };
const limits: HoldLimits = { held: 0, holdMax: 2, holdMs: 1500 };
const positive: Mapping = {
  iid: 0,
  eid: '198.18.0.0/24',
  locators: [{ rloc: '203.0.113.130', priority: 1, weight: 100, reachable: true }],
  action: 'no-action',
  ttlSeconds: 900,
  source: 'map-reply',
};
const negative: Mapping = {
  ...positive,
  eid: '8.0.0.0/7',
  locators: [],
  action: 'natively-forward',
  ttlSeconds: 60,
};

describe('decide', () => {
  it('proxies what has locators', () => {
    assert.deepEqual(decide(policy, '198.18.0.9', knowledgeOf(positive), limits), {
      action: 'proxy',
      mapping: positive,
    });
  });

  it('passes by what has none, for as long as the mapping system says', () => {
    assert.deepEqual(decide(policy, '8.8.8.8', knowledgeOf(negative), limits), {
      action: 'bypass',
      reason: 'no mapping',
      remember: { prefix: '8.0.0.0/7', ttlSeconds: 60 },
    });
  });

  it('keeps the time within what a packet filter takes', () => {
    const endless = decide(policy, '8.8.8.8', knowledgeOf({ ...negative, ttlSeconds: Infinity }), limits);
    assert.ok(endless.action === 'bypass' && endless.remember?.ttlSeconds === 3600);
    const none = decide(policy, '8.8.8.8', knowledgeOf({ ...negative, ttlSeconds: 0 }), limits);
    assert.ok(none.action === 'bypass' && none.remember?.ttlSeconds === 1);
  });

  it('passes by even where the action says drop: the packets were never to be encapsulated', () => {
    const denied = decide(
      policy,
      '8.8.8.8',
      knowledgeOf({ ...negative, action: 'drop-policy-denied' }),
      limits,
    );
    assert.equal(denied.action, 'bypass');
  });

  it('holds on a miss, unless too many are held or holding is off', () => {
    const miss = knowledgeOf(undefined);
    assert.deepEqual(decide(policy, '198.18.0.9', miss, limits), { action: 'hold' });
    assert.deepEqual(decide(policy, '198.18.0.9', miss, { ...limits, held: 2 }), {
      action: 'bypass',
      reason: '2 connections are held already',
    });
    assert.deepEqual(decide(policy, '198.18.0.9', miss, { ...limits, holdMs: 0 }), {
      action: 'bypass',
      reason: 'no mapping yet, and holding is switched off',
    });
  });

  it('passes by for a while when nobody answers', () => {
    assert.deepEqual(
      decide(
        policy,
        '198.18.0.9',
        { status: 'unreachable', reason: 'timed out', retryAfterMs: 4200 },
        limits,
      ),
      {
        action: 'bypass',
        reason: 'no answer from the mapping system: timed out',
        remember: { prefix: '198.18.0.9/32', ttlSeconds: 5 },
      },
    );
    const silent = decide(
      policy,
      '2001:db8::1',
      { status: 'unreachable', reason: 'x', retryAfterMs: 0 },
      limits,
    );
    assert.ok(silent.action === 'bypass');
    assert.deepEqual(silent.remember, { prefix: '2001:db8::1/128', ttlSeconds: 15 });
  });

  it('asks nobody in a data centre', () => {
    assert.deepEqual(decide({ ...policy, role: 'data-centre' }, '10.0.0.1', { status: 'miss' }, limits), {
      action: 'proxy',
    });
  });

  it('knows host prefixes', () => {
    assert.equal(hostPrefix('192.0.2.1'), '192.0.2.1/32');
    assert.equal(hostPrefix('2001:db8::1'), '2001:db8::1/128');
  });
});
