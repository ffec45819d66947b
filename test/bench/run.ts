// SPDX-License-Identifier: BSD-2-Clause

/**
 * npm run bench: the paper's Figure 3 in one run, on the lab, unshaped.
 *
 *   npm run bench -- [--seconds N] [--runs N] [--modes nat,...,latency,...] [--streams 1,8] [--connection-seconds N]
 *                    [--idle 1000,10000] [--json] [--out FOLDER]
 *
 * All modes stand at once and their runs are interleaved, so that drift of the machine cancels; medians are compared. Then come
 * the parts (parts.ts), which --modes names as well. results.json, the table and figure3.svg go to FOLDER (dist/bench).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { missing } from '../../src/lab/requirements.js';
import {
  HOPS,
  MODES,
  type Direction,
  type HopName,
  type ModeName,
  type Setting,
  measure,
  setUp,
  setUpHops,
} from './modes.js';
import { PARTS, measureParts, type PartName } from './parts.js';
import { json, picture, summarize, table, type Results, type Sample } from './report.js';

export interface BenchOptions {
  seconds: number;
  runs: number;
  modes: ModeName[];
  streams: number[];
  parts: PartName[];
  connectionSeconds: number;
  idle: number[];
  onStep(text: string): void;
}

export async function bench(options: BenchOptions): Promise<Results> {
  const notAvailable: Record<string, string> = {};
  const samples = options.modes.length > 0 ? await rates(options, notAvailable) : [];
  const parts = await measureParts(options, notAvailable);
  return summarize(samples, notAvailable, parts);
}

async function rates(options: BenchOptions, notAvailable: Record<string, string>): Promise<Sample[]> {
  const settings = new Map<ModeName | HopName, Setting>();
  const samples: Sample[] = [];
  try {
    for (const mode of options.modes) {
      options.onStep(`setting up ${mode}`);
      try {
        settings.set(mode, await setUp(mode));
      } catch (error) {
        notAvailable[mode] = (error as Error).message.trim().split('\n').at(-1)!.slice(0, 200);
        options.onStep(`${mode} is not available: ${(error as Error).message}`);
      }
    }
    options.onStep('setting up single hops');
    for (const [name, setting] of Object.entries(await setUpHops())) settings.set(name as HopName, setting);
    for (let run = 1; run <= options.runs; run++)
      for (const streams of options.streams)
        for (const direction of ['up', 'down'] satisfies Direction[])
          for (const [mode, setting] of settings) {
            // The ceiling is made of single streams.
            if (streams !== 1 && (HOPS as readonly string[]).includes(mode)) continue;
            await sample(mode, setting, direction, streams, run);
          }
    return samples;
  } finally {
    await Promise.all([...new Set([...settings.values()].map(({ lab }) => lab))].map((lab) => lab.close()));
  }

  async function sample(
    mode: ModeName | HopName,
    setting: Setting,
    direction: Direction,
    streams: number,
    run: number,
  ): Promise<void> {
    try {
      const measured = await measure(setting, direction, streams, options.seconds);
      samples.push({ mode, direction, streams, ...measured });
      options.onStep(
        `run ${run}/${options.runs}  ${mode.padEnd(10)} ${direction.padEnd(4)} x${streams}  ${measured.gbps.toFixed(2)} Gbit/s`,
      );
    } catch (error) {
      // One run that fails is a finding, not the end of the measurement.
      options.onStep(
        `run ${run}/${options.runs}  ${mode} ${direction} x${streams}: ${(error as Error).message}`,
      );
      notAvailable[`${mode} ${direction} x${streams} run ${run}`] = (error as Error).message.slice(0, 200);
    }
  }
}

const USAGE = `usage: npm run bench -- [--seconds 4] [--runs 3] [--streams 1,8] [--connection-seconds 60] [--idle 1000,10000]
                        [--modes LIST] [--json] [--out FOLDER]
LIST: ${[...MODES, ...PARTS].join(',')}
`;

function readArguments() {
  return parseArgs({
    options: {
      seconds: { type: 'string', default: '4' },
      runs: { type: 'string', default: '3' },
      modes: { type: 'string', default: [...MODES, ...PARTS].join(',') },
      streams: { type: 'string', default: '1,8' },
      'connection-seconds': { type: 'string', default: '60' },
      idle: { type: 'string', default: '1000,10000' },
      json: { type: 'boolean', default: false },
      out: { type: 'string', default: fileURLToPath(new URL('../../bench', import.meta.url)) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values;
}

async function main(): Promise<number> {
  let values: ReturnType<typeof readArguments>;
  try {
    values = readArguments();
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const list = (text: string): string[] => text.split(',').filter((part) => part !== '');
  const asked = list(values.modes);
  const modes = MODES.filter((mode) => asked.includes(mode));
  const parts = PARTS.filter((part) => asked.includes(part));
  const seconds = Number(values.seconds);
  const runs = Number(values.runs);
  const streams = list(values.streams).map(Number);
  const connectionSeconds = Number(values['connection-seconds']);
  const idle = list(values.idle).map(Number);
  if (
    asked.length === 0 ||
    new Set(asked).size !== modes.length + parts.length ||
    ![seconds, runs, connectionSeconds, ...streams, ...idle].every(
      (value) => Number.isInteger(value) && value > 0,
    )
  ) {
    process.stderr.write(USAGE);
    return 2;
  }
  const problems = await missing();
  if (problems.length > 0) {
    for (const { name, detail } of problems) process.stderr.write(`bench: ${name}: ${detail}\n`);
    return 1;
  }
  const results = await bench({
    seconds,
    runs,
    streams,
    modes,
    parts,
    connectionSeconds,
    idle,
    onStep: (text) => process.stderr.write(`${text}\n`),
  });
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  if (modes.length > 0) writeFileSync(join(values.out, 'figure3.svg'), picture(results));
  process.stdout.write(values.json ? `${json(results)}\n` : table(results));
  if (!values.json)
    process.stderr.write(
      `results.json${modes.length > 0 ? ' and figure3.svg' : ''} written to ${values.out}\n`,
    );
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
