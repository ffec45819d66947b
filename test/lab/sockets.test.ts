// SPDX-License-Identifier: BSD-2-Clause
/* The Linux sockets against real kernels: sockets-world.ts has the picture, sockets-scenarios.ts what is done. */
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missing, scenario } from './namespaces.js';
import { scenarioNames } from './sockets-scenarios.js';

const program = fileURLToPath(new URL('./sockets-scenarios.js', import.meta.url));
const skip = missing(['nft']);

/** These assert how soon something happens: on a machine that does something else as well they may need another attempt. */
const timed = /^(cut-|out-of-descriptors|guard)/;

for (const name of scenarioNames)
  test(`sockets: ${name}`, { skip, timeout: 240_000 }, (context) =>
    scenario(context, program, [name], timed.test(name) ? 3 : 1),
  );
