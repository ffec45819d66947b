// SPDX-License-Identifier: BSD-2-Clause

/** The scenario of `run.ts` on the memory platform. */
import { LabError } from './process.js';
import type { Progress } from './progress.js';
import type { LabReport } from './report.js';

export async function runSimulated(
  _basics: Pick<LabReport, 'rlocs' | 'rateMbps' | 'ipv6' | 'bytes'>,
  _progress: Progress,
): Promise<LabReport> {
  return Promise.reject(new LabError('the memory platform is not there yet'));
}
