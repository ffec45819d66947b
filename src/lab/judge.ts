// SPDX-License-Identifier: BSD-2-Clause

/** Whether the wire shows what it should: each subflow in LISP, between its own RLOCs, on its own provider, and nowhere else. */
import type { Lab, WireFlow } from './lab.js';
import { addresses } from './topology.js';

export interface WireJudgement {
  /** New subflows of all connections seen in between. */
  subflows: number;
  /** First ones among them. */
  connections: number;
  failures: string[];
}

interface Wire {
  flows: WireFlow[];
  malformed: number;
}

const keyOf = (flow: WireFlow): string => [flow.provider, ...flow.outer, ...flow.inner].join(' ');
/** One key for both directions of an inner flow. */
function subflowKey([address, port, peer, peerPort]: WireFlow['inner']): string {
  const [one, other] = [`${address} ${port}`, `${peer} ${peerPort}`];
  return one < other ? `${one} ${other}` : `${other} ${one}`;
}

/** Flows of `port` at the server that moved between two looks at the wire. */
export function judgeWire(
  lab: Pick<Lab, 'family' | 'site' | 'rlocs'>,
  before: Wire,
  after: Wire,
  port: number,
  server = addresses.server(lab.family),
): WireJudgement {
  const earlier = new Map(before.flows.map((flow) => [keyOf(flow), flow]));
  const moved = after.flows.filter((flow) => {
    const [address, flowPort, peer, peerPort] = flow.inner;
    const ours = (address === server && flowPort === port) || (peer === server && peerPort === port);
    return ours && flow.packets > (earlier.get(keyOf(flow))?.packets ?? 0);
  });
  const failures: string[] = [];
  if (after.malformed > before.malformed)
    failures.push(`${after.malformed - before.malformed} LISP packets without a whole inner header`);

  const subflows = new Map<string, WireFlow[]>();
  for (const flow of moved) {
    const key = subflowKey(flow.inner);
    subflows.set(key, [...(subflows.get(key) ?? []), flow]);
  }
  let connections = 0;
  let fresh = 0;
  /** The last words of a connection that has ended before are no subflow of this one. */
  const old = new Set(before.flows.map(({ inner }) => subflowKey(inner)));
  for (const [key, flows] of subflows) {
    const paths = new Set(flows.map(({ outer }) => [...outer].sort().join(' and ')));
    if (paths.size > 1) {
      const used = flows.map(({ outer, packets }) => `${packets} packets ${outer.join(' -> ')}`);
      failures.push(`subflow ${key} used more than one pair of RLOCs: ${used.join('; ')}`);
    }
    for (const flow of flows) {
      const expected = [0, lab.site].map((site) =>
        addresses.rloc(lab.family, site as 0 | 1 | 2, flow.provider),
      );
      if ([...flow.outer].sort().join() !== expected.sort().join()) {
        failures.push(`subflow ${key} went between ${flow.outer.join(' and ')} on provider ${flow.provider}`);
      }
    }
    if (old.has(key)) continue;
    fresh += 1;
    const syn = flows.find((flow) => flow.syn !== null)?.syn;
    if (syn === 'capable' || syn === 'plain') connections += 1;
    else if (syn !== 'join') failures.push(`subflow ${key}: no SYN was seen`);
  }
  return { subflows: fresh, connections, failures };
}
