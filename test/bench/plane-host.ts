// SPDX-License-Identifier: BSD-2-Clause

/**
 * A LISP xTR without control plane, for measurements: one data plane with the mappings it is given. Started in a host of
 * the lab with its site as JSON argument; says 'ready', then answers each line on standard input with its counters.
 */
import { createInterface } from 'node:readline';
import type { Mapping } from '../../src/lisp/mapping.js';
import type { HostOptions, PathCounters, PlaneOptions, PlaneStats } from '../../src/platform/platform.js';
import { selectPlatform } from '../../src/platform/select.js';

export interface PlaneSite {
  plane: 'user' | 'kernel';
  rlocs: HostOptions['rlocs'];
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
await platform.configure?.({ rlocs: site.rlocs, localPrefixes: [] });
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
createInterface({ input: process.stdin })
  .on('line', answer)
  .on('close', () => void end());

function answer(): void {
  const programs = (
    plane as { programCounters?: () => Record<string, number> | undefined }
  ).programCounters?.();
  const told: PlaneAnswer = {
    kind: plane.kind,
    stats: plane.stats(),
    paths: plane.paths(),
    ...(programs && { programs }),
  };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

async function end(): Promise<void> {
  await plane.stop();
  await platform.close?.();
  process.exit(0);
}
