// SPDX-License-Identifier: BSD-2-Clause

/**
 * A LISP xTR without control plane, for measurements: one data plane with the mappings it is given. Started in a host of
 * the lab with its site as JSON argument; says 'ready', then answers each line on standard input with its counters.
 */
import { createInterface } from 'node:readline';
import type { Mapping } from '../../src/lisp/mapping.js';
import type { PathCounters, PlaneOptions, PlaneStats } from '../../src/platform/platform.js';
import { selectPlatform } from '../../src/platform/select.js';

export interface PlaneSite {
  plane: 'user' | 'kernel';
  options: PlaneOptions;
  mappings: { eid: string; rlocs: string[] }[];
}

export interface PlaneAnswer {
  kind: string;
  stats: PlaneStats;
  paths: PathCounters[];
  /** Of the eBPF programs. */
  programs?: Record<string, number>;
}

const site = JSON.parse(process.argv[2] ?? '') as PlaneSite;
const platform = await selectPlatform({
  plane: site.plane,
  warn: (message) => process.stderr.write(`${message}\n`),
});
const { plane } = platform;
await plane.start(site.options, () => undefined);
for (const { eid, rlocs } of site.mappings) {
  const mapping: Mapping = {
    iid: site.options.iid,
    eid,
    locators: rlocs.map((rloc) => ({ rloc, priority: 1, weight: 50, reachable: true })),
    action: 'no-action',
    ttlSeconds: Infinity,
    source: 'static',
  };
  plane.setMapping(mapping);
}
process.stdout.write('ready\n');
for await (const _line of createInterface({ input: process.stdin })) {
  const programs = (
    plane as { programCounters?: () => Record<string, number> | undefined }
  ).programCounters?.();
  const answer: PlaneAnswer = {
    kind: plane.kind,
    stats: plane.stats(),
    paths: plane.paths(),
    ...(programs && { programs }),
  };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await plane.stop();
await platform.close?.();
process.exit(0);
