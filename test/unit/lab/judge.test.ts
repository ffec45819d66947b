// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgeWire } from '../../../src/lab/judge.js';
import type { WireFlow } from '../../../src/lab/lab.js';

const lab = { family: 4 as const, site: 1 as const, rlocs: 2 };
const nothing = { flows: [], malformed: 0 };

function flow(
  provider: number,
  port: number,
  syn: WireFlow['syn'],
  outer: [string, string] = [`203.0.${112 + provider}.2`, `203.0.${122 + provider}.2`],
): WireFlow {
  return { provider, outer, inner: ['192.0.2.1', port, '198.18.1.10', 80], packets: 3, bytes: 300, syn };
}

/** The way back of a flow. */
function back(of: WireFlow): WireFlow {
  const [address, port, peer, peerPort] = of.inner;
  return { ...of, outer: [of.outer[1], of.outer[0]], inner: [peer, peerPort, address, port], syn: null };
}

describe('judgeWire', () => {
  it('is content with one subflow a provider, out and back between its own RLOCs', () => {
    const [first, second] = [flow(1, 1000, 'capable'), flow(2, 1001, 'join')];
    const judgement = judgeWire(
      lab,
      nothing,
      { flows: [first, back(first), second, back(second)], malformed: 0 },
      80,
    );
    assert.deepEqual(judgement, { subflows: 2, connections: 1, failures: [] });
  });

  it('counts only what moved since the look before, on the port asked for', () => {
    const old = flow(1, 999, 'capable');
    const other = {
      ...flow(1, 1002, 'capable'),
      inner: ['192.0.2.1', 1002, '198.18.1.10', 81] as WireFlow['inner'],
    };
    const judgement = judgeWire(
      lab,
      { flows: [old], malformed: 2 },
      { flows: [old, other, flow(1, 1000, 'plain')], malformed: 2 },
      80,
    );
    assert.deepEqual(judgement, { subflows: 1, connections: 1, failures: [] });
  });

  it('objects to a subflow on two paths', () => {
    const first = flow(1, 1000, 'capable');
    const { failures } = judgeWire(
      lab,
      nothing,
      { flows: [first, { ...flow(2, 1000, null) }], malformed: 0 },
      80,
    );
    assert.equal(failures.length, 1);
    assert.match(failures[0]!, /more than one pair of RLOCs/);
  });

  it('objects to RLOCs of another provider', () => {
    const astray = flow(2, 1000, 'join', ['203.0.113.2', '203.0.124.2']);
    const { failures } = judgeWire(lab, nothing, { flows: [astray], malformed: 0 }, 80);
    assert.match(failures.join(), /between 203\.0\.113\.2 and 203\.0\.124\.2 on provider 2/);
  });

  it('objects to a flow without SYN and to malformed packets', () => {
    const { failures } = judgeWire(lab, nothing, { flows: [flow(1, 1000, null)], malformed: 1 }, 80);
    assert.equal(failures.length, 2);
  });
});
