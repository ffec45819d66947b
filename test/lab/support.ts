// SPDX-License-Identifier: BSD-2-Clause

/** What the lab's tests share. */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Lab, type LabOptions } from '../../src/lab/lab.js';
import { waitFor } from '../../src/lab/process.js';
import { hasProgram, missing } from '../../src/lab/requirements.js';
import type { RouteResponse } from '../../src/daemon/api/schema.js';

export type Connection = RouteResponse<'connectionList'>['connections'][number];

/**
 * Why the lab's tests cannot run here, for `{ skip }`; false when they can. With AMPTCP_NO_SKIP set (continuous
 * integration) a missing feature is an error.
 */
export const skip: string | false = await (async () => {
  const problems = (await missing()).map(({ name, detail }) => `${name}: ${detail}`);
  if (!hasProgram('tshark')) problems.push('programs: not installed: tshark');
  if (problems.length === 0) return false;
  const text = problems.join('; ');
  if (process.env.AMPTCP_NO_SKIP)
    throw new Error(`the lab cannot run here, and skips are forbidden: ${text}`);
  return text;
})();

/** A lab for the tests of the enclosing suite: made before them, removed after them. */
export function sharedLab(options: LabOptions, prepare: (lab: Lab) => Promise<void> = startAll): () => Lab {
  let lab: Lab | undefined;
  before(async () => {
    lab = await Lab.create(options);
    await prepare(lab);
  });
  after(async () => {
    if (process.env.AMPTCP_LAB_LOGS && lab) {
      for (const host of lab.daemons.keys())
        process.stderr.write(`--- ${host}\n${lab.log(host, 'amptcpd')}\n`);
    }
    await lab?.close();
  });
  return () => {
    assert.ok(lab, 'the lab was not made');
    return lab;
  };
}

export async function startAll(lab: Lab): Promise<void> {
  await lab.startServers();
  await lab.startDaemons();
  await lab.watch();
}

export async function connections(lab: Lab): Promise<Connection[]> {
  return (await lab.api('gateway', 'connectionList')).connections;
}

/** The proxied connection to a port of the server. */
export function connection(
  lab: Lab,
  port: number,
  condition: (found: Connection) => boolean = () => true,
  deadlineMs = 10_000,
): Promise<Connection> {
  let last: Connection | undefined;
  return waitFor(
    `a proxied connection to port ${port}`,
    async () => {
      // One that has just been ended may still be there beside it.
      const found = (await connections(lab)).filter(({ destination }) => destination.port === port);
      last = found.at(-1);
      return found.find(condition);
    },
    deadlineMs,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; last seen: ${JSON.stringify(last)}`, { cause: error });
  });
}

export const established = (found: Connection): number =>
  found.subflows.filter(({ state }) => state === 'established').length;

/** Every connection is over at the gateway, and its pins with them: nothing stays behind. */
export async function idle(lab: Lab, deadlineMs = 15_000): Promise<void> {
  await waitFor(
    'the gateway to have no connection',
    async () => (await connections(lab)).length === 0,
    deadlineMs,
  );
}
