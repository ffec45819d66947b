// SPDX-License-Identifier: BSD-2-Clause
import type { Clock } from './platform.js';

/** This process's own. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};
