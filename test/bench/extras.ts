// SPDX-License-Identifier: BSD-2-Clause

/** What is measured besides throughput. */
import type { HopName, ModeName, Setting } from './modes.js';
import type { Extras } from './report.js';

export const EXTRAS = [] as const;
export type ExtraName = 'lookups';

type Measure = (settings: Map<ModeName | HopName, Setting>, limits: string[]) => Promise<Extras>;

export const extras: Record<ExtraName, Measure> = {
  lookups: () => Promise.resolve({}),
};
