// SPDX-License-Identifier: BSD-2-Clause
import { run, type Interfaces } from '@oclif/core';
import { EXIT } from './exit-codes.js';
import { asFailure, failureJson, failureText } from './failure.js';
import { output } from './output.js';

/** Runs one command line; every failure ends up as a sentence or a JSON object, and as an exit status. */
export async function runCli(argv: string[], load: Interfaces.LoadOptions): Promise<number> {
  // A command that found faults, and one that failed with --json, say so here: oclif has no other way.
  process.exitCode = EXIT.ok;
  try {
    await run(argv, load);
    return Number(process.exitCode);
  } catch (thrown) {
    const failure = asFailure(thrown);
    if (failure === undefined) return EXIT.ok;
    if (argv.includes('--json')) output.stdout(`${JSON.stringify(failureJson(failure), null, 2)}\n`);
    else output.stderr(`${failureText(failure)}\n`);
    return failure.exit;
  }
}
