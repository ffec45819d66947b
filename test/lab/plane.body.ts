// SPDX-License-Identifier: BSD-2-Clause
/* The same tests for each data plane of Linux: plane-world.ts has the picture, plane-scenarios.ts what is done. */
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missing, scenario } from './namespaces.js';
import type { PlaneKind } from './plane-agent.js';
import { scenarios } from './plane-scenarios.js';

const program = fileURLToPath(new URL('./plane-scenarios.js', import.meta.url));

/** Why the tests cannot run here; false when they can. */
export const missingForPlanes = (): string | false => missing(['nft', 'tshark', 'dumpcap'], { tun: true });

export function planeTests(
  kind: PlaneKind,
  skip: string | false = missingForPlanes(),
  names = Object.keys(scenarios),
): void {
  if (skip !== false && process.env['AMPTCP_NO_SKIP'])
    throw new Error(`the data plane cannot be tested here, and skips are forbidden: ${skip}`);
  for (const name of names)
    test(`${kind} plane: ${name}`, { skip, timeout: 120_000 }, (context) =>
      scenario(context, program, [kind, name]),
    );
}
