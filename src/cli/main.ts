#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause
import { flush, run } from '@oclif/core';
import { asFailure, failureJson, failureText } from './failure.js';

try {
  await run(process.argv.slice(2), import.meta.url);
  await flush();
} catch (thrown) {
  const failure = asFailure(thrown);
  if (failure !== undefined) {
    if (process.argv.includes('--json'))
      process.stdout.write(`${JSON.stringify(failureJson(failure), null, 2)}\n`);
    else process.stderr.write(`${failureText(failure)}\n`);
    process.exitCode = failure.exit;
  }
}
