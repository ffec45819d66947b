// SPDX-License-Identifier: BSD-2-Clause
import { readFileSync } from 'node:fs';

/** From package.json, three folders above the compiled file. */
export const VERSION = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
