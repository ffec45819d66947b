#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause
import { runCli } from './run.js';

process.exitCode = await runCli(process.argv.slice(2), import.meta.url);
