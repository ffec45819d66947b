// SPDX-License-Identifier: BSD-2-Clause

/** The measurements as JSON, as a table for a person, as a picture. Values in, text out. */
import { MODES, type Direction, type HopName, type ModeName } from './modes.js';
import type { PartResults } from './parts.js';
import { median, round, spread } from './statistics.js';

export interface Sample {
  mode: ModeName | HopName;
  direction: Direction;
  streams: number;
  gbps: number;
  cpuSecondsPerGigabyte: number;
}

interface Both {
  up: number;
  down: number;
}

export interface Results extends PartResults {
  modes: Partial<Record<ModeName, Both & { up8?: number; down8?: number; cpuSecondsPerGigabyte: Both }>>;
  L?: Both;
  hops?: Partial<Record<HopName, Both>>;
  ratios: Record<string, Both>;
  /** Half the distance between the quartiles, as a share of the median; the largest of one-stream runs. */
  spread: number;
  notAvailable: Record<string, string>;
}

/** Issue and its goals: name, which over which, least value, goal. */
const RATIOS: { name: string; of: ModeName; over: ModeName | 'L'; least: number; goal: number }[] = [
  { name: 'proxy/nat', of: 'proxy', over: 'nat', least: 0.5, goal: 0.65 },
  { name: 'lispKernel/nat', of: 'lispKernel', over: 'nat', least: 0.75, goal: 0.9 },
  { name: 'lispUser/nat', of: 'lispUser', over: 'nat', least: 0.3, goal: 0.45 },
  { name: 'fullKernel/L', of: 'fullKernel', over: 'L', least: 0.6, goal: 0.85 },
  { name: 'fullUser/L', of: 'fullUser', over: 'L', least: 0.3, goal: 0.5 },
  { name: 'fullKernel/nat', of: 'fullKernel', over: 'nat', least: 0.35, goal: 0.55 },
];

export function summarize(
  samples: Sample[],
  notAvailable: Record<string, string>,
  parts: PartResults = {},
): Results {
  const pick = (mode: string, direction: Direction, streams: number): Sample[] =>
    samples.filter(
      (sample) => sample.mode === mode && sample.direction === direction && sample.streams === streams,
    );
  const rate = (mode: string, direction: Direction, streams = 1): number =>
    median(pick(mode, direction, streams).map(({ gbps }) => gbps));
  const cpu = (mode: string, direction: Direction): number =>
    round(median(pick(mode, direction, 1).map(({ cpuSecondsPerGigabyte }) => cpuSecondsPerGigabyte)));
  const has = (mode: string): boolean => pick(mode, 'up', 1).length > 0 && pick(mode, 'down', 1).length > 0;

  const modes: Results['modes'] = {};
  for (const mode of MODES.filter(has)) {
    modes[mode] = {
      up: round(rate(mode, 'up')),
      down: round(rate(mode, 'down')),
      ...(pick(mode, 'up', 8).length > 0 && {
        up8: round(rate(mode, 'up', 8)),
        down8: round(rate(mode, 'down', 8)),
      }),
      cpuSecondsPerGigabyte: { up: cpu(mode, 'up'), down: cpu(mode, 'down') },
    };
  }
  const hop = (name: HopName): Both => ({ up: round(rate(name, 'up')), down: round(rate(name, 'down')) });
  const ceiling = (direction: Direction): number =>
    1 / (1 / rate('tcp', direction) + 1 / rate('mptcp-hop', direction));
  const L =
    has('tcp') && has('mptcp-hop') ? { up: round(ceiling('up')), down: round(ceiling('down')) } : undefined;
  const ratios: Results['ratios'] = {};
  for (const { name, of, over } of RATIOS) {
    const above = modes[of];
    const below = over === 'L' ? L : modes[over];
    if (above && below)
      ratios[name] = { up: round(above.up / below.up), down: round(above.down / below.down) };
  }
  const spreads = MODES.filter(has).flatMap((mode) =>
    (['up', 'down'] as const).map((direction) => spread(pick(mode, direction, 1).map(({ gbps }) => gbps))),
  );
  return {
    modes,
    ...(L && { L, hops: { tcp: hop('tcp'), 'mptcp-hop': hop('mptcp-hop') } }),
    ratios,
    spread: round(Math.max(0, ...spreads)),
    ...parts,
    notAvailable,
  };
}

const NOT_AVAILABLE = 'not available';

/** Exactly what `--json` prints; everything else is in results.json. What could not be measured says so. */
export function json(results: Results): string {
  const { modes, L, ratios, latency, connections, idle, lookups, failover, goodput, notAvailable } = results;
  const rates = Object.fromEntries(
    MODES.filter((mode) => modes[mode] || notAvailable[mode] !== undefined).map((mode) => {
      const found = modes[mode];
      return [mode, found ? { up: found.up, down: found.down } : NOT_AVAILABLE];
    }),
  );
  const missing = (part: string): string | undefined =>
    notAvailable[part] === undefined ? undefined : NOT_AVAILABLE;
  return JSON.stringify({
    modes: rates,
    L,
    ratios,
    latencyMs: latency ?? missing('latency'),
    connectionsPerSecond: connections?.perSecond ?? missing('connections'),
    // That of the largest number.
    idleKiBPerConnection: idle?.at(-1)?.kiBPerConnection ?? missing('idle'),
    lookups: lookups
      ? Object.fromEntries(
          Object.entries(lookups).map(([name, { lookupsPerSecond }]) => [name, lookupsPerSecond]),
        )
      : missing('lookups'),
    failoverSeconds: failover?.seconds ?? missing('failover'),
    // Of what two providers of 500 Mbit/s can carry.
    goodput: goodput?.ratio ?? missing('goodput'),
  });
}

/** How much longer a lookup among 100,000 prefixes takes than one among 10. */
export function lookupSlowdowns(lookups: NonNullable<PartResults['lookups']>): { v4: number; v6: number } {
  const of = (family: 'v4' | 'v6'): number =>
    lookups[`${family}/100000`]!.lookupNs / lookups[`${family}/10`]!.lookupNs;
  return { v4: of('v4'), v6: of('v6') };
}

/** What the parts have to show: the figure, and what it is held against. */
function partLines(results: Results): string[] {
  const { latency, connections, idle, lookups, failover, goodput } = results;
  const line = (name: string, value: string, bound: string, ok: boolean): string =>
    `${name.padEnd(34)}${value.padStart(12)}    ${bound.padEnd(26)}${ok ? 'ok' : 'BELOW'}`;
  const lines: string[] = [];
  if (latency)
    lines.push(
      line(
        'added time to first octet',
        `${latency.added.toFixed(2)} ms`,
        'at most 1, goal 0.3',
        latency.added <= 1,
      ),
    );
  if (connections) {
    const { perSecond, seconds, failed, slowestSecond, directPerSecond } = connections;
    lines.push(
      line(
        'new connections per second',
        String(perSecond),
        'at least 2000, goal 5000',
        perSecond >= 2000 && failed === 0,
      ),
      `  over ${seconds} s, ${failed} failed, ${slowestSecond} in the slowest second; directly ${directPerSecond} per second`,
    );
  }
  for (const found of idle ?? [])
    lines.push(
      line(
        `memory of ${found.connections} idle connections`,
        `${found.kiBPerConnection} KiB`,
        'at most 64 each, goal 16',
        found.kiBPerConnection <= 64,
      ),
      `  daemon ${found.daemonKiB} + slab ${found.slabKiB} - direct ${found.directSlabKiB} KiB; ${found.descriptorsPerConnection} descriptors${found.limit === undefined ? '' : `; not ${found.wanted}: ${found.limit}`}`,
    );
  if (lookups) {
    const { v4, v6 } = lookupSlowdowns(lookups);
    const slowdown = Math.max(v4, v6);
    lines.push(
      line(
        'lookup, 100,000 prefixes to 10',
        `v4 ${v4.toFixed(2)} x, v6 ${v6.toFixed(2)} x`,
        'at most 3, goal 1.5',
        slowdown <= 3,
      ),
      ...Object.entries(lookups).map(
        ([name, { lookupsPerSecond, lookupNs, medianNs, decideNs, tripNs }]) =>
          `  ${name.padEnd(10)} ${(lookupsPerSecond / 1e6).toFixed(1).padStart(6)} million/s, ${lookupNs} ns (median ${medianNs}); whole decision ${decideNs} ns; a trip to memory ${tripNs} ns`,
      ),
    );
  }
  if (failover)
    lines.push(
      line(
        'recovery from a cut provider',
        `${failover.seconds} s`,
        'at most 3, goal 1',
        failover.seconds <= 3,
      ),
      `  each: ${failover.each.join(', ')} s`,
    );
  if (goodput) {
    const least = Math.min(goodput.ratio.up, goodput.ratio.down);
    lines.push(
      line(
        'goodput, 2 x 500 Mbit/s',
        `${(least * 100).toFixed(1)} %`,
        'at least 99 of the limit',
        least >= 0.99,
      ),
      `  up ${goodput.each.up.join(', ')}, down ${goodput.each.down.join(', ')} of ${goodput.limit} Mbit/s (the sum less headers)`,
    );
  }
  return lines;
}

const cell = (value: number | undefined, digits = 2): string =>
  (value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits)).padStart(8);

export function table(results: Results): string {
  const parts = partLines(results);
  const missing = Object.entries(results.notAvailable)
    .filter(([name]) => !(MODES as readonly string[]).includes(name))
    .map(([name, why]) => `${name}: not available: ${why}`);
  const after = [...parts, ...missing];
  if (Object.keys(results.modes).length === 0) return `${after.join('\n')}\n`;
  const lines = [
    `${'Gbit/s'.padEnd(14)}${['up', 'down', 'up x8', 'down x8', 'CPU s/GB up', 'down'].map((head) => head.padStart(head.length > 8 ? 12 : 8)).join('')}`,
  ];
  for (const mode of MODES) {
    const found = results.modes[mode];
    const why = results.notAvailable[mode];
    if (found)
      lines.push(
        `${mode.padEnd(14)}${cell(found.up)}${cell(found.down)}${cell(found.up8)}${cell(found.down8)}    ${cell(found.cpuSecondsPerGigabyte.up)}${cell(found.cpuSecondsPerGigabyte.down)}`,
      );
    else if (why !== undefined) lines.push(`${mode.padEnd(14)}not available: ${why}`);
  }
  if (results.L) lines.push(`${'L'.padEnd(14)}${cell(results.L.up)}${cell(results.L.down)}`);
  lines.push('', `${'ratio'.padEnd(18)}${'up'.padStart(6)}${'down'.padStart(8)}    at least  goal`);
  for (const { name, least, goal } of RATIOS) {
    const ratio = results.ratios[name];
    if (!ratio) continue;
    const verdict = Math.min(ratio.up, ratio.down) >= least ? 'ok' : 'BELOW';
    lines.push(
      `${name.padEnd(18)}${ratio.up.toFixed(2).padStart(6)}${ratio.down.toFixed(2).padStart(8)}    ${least.toFixed(2).padStart(8)}  ${goal.toFixed(2)}  ${verdict}`,
    );
  }
  lines.push('', `spread of runs (half the quartiles' distance over the median): ${results.spread}`);
  if (after.length > 0) lines.push('', ...after);
  return `${lines.join('\n')}\n`;
}

const WIDTH = 760;
const HEIGHT = 380;

/**
 * In the manner of the paper's Figure 3: throughput relative to NAT only, the paper's three bars beside ours. Of the paper
 * only its 18 % loss to the user-space data plane is a number; its proxy alone cost next to nothing on its slower links.
 */
export function picture(results: Results): string {
  const nat = results.modes.nat;
  const share = (mode: ModeName): number | undefined => {
    const found = results.modes[mode];
    return nat && found && (found.up / nat.up + found.down / nat.down) / 2;
  };
  const bars: { label: string; value: number | undefined; colour: string }[] = [
    { label: 'paper: NAT', value: 1, colour: '#9aa5b1' },
    { label: 'paper: full', value: 0.82, colour: '#9aa5b1' },
    ...MODES.map((mode) => ({
      label: mode,
      value: share(mode),
      colour: mode.startsWith('full') ? '#1f6feb' : mode.startsWith('lisp') ? '#2da44e' : '#57606a',
    })),
  ];
  const left = 50;
  const bottom = HEIGHT - 60;
  const top = 40;
  const step = (WIDTH - left - 20) / bars.length;
  const y = (value: number): number => bottom - (bottom - top) * Math.min(value / 1.2, 1);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${left}" y="22" font-size="14">Throughput relative to NAT only, one stream, mean of up and down</text>`,
  ];
  for (const tick of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    parts.push(
      `<line x1="${left}" x2="${WIDTH - 20}" y1="${y(tick)}" y2="${y(tick)}" stroke="#d0d7de"/>`,
      `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick.toFixed(1)}</text>`,
    );
  }
  bars.forEach(({ label, value, colour }, index) => {
    const x = left + index * step + step * 0.15;
    const width = step * 0.7;
    const middle = x + width / 2;
    if (value !== undefined)
      parts.push(
        `<rect x="${x.toFixed(1)}" y="${y(value).toFixed(1)}" width="${width.toFixed(1)}" height="${(bottom - y(value)).toFixed(1)}" fill="${colour}"/>`,
        `<text x="${middle.toFixed(1)}" y="${(y(value) - 5).toFixed(1)}" text-anchor="middle">${value.toFixed(2)}</text>`,
      );
    else parts.push(`<text x="${middle.toFixed(1)}" y="${bottom - 5}" text-anchor="middle">n/a</text>`);
    parts.push(
      `<text x="${middle.toFixed(1)}" y="${bottom + 16}" text-anchor="middle" font-size="11">${label}</text>`,
    );
  });
  parts.push(
    `<text x="${left}" y="${HEIGHT - 14}" fill="#57606a">The paper lost 18 % to its user-space LISP data plane (its Figure 3, links of 1 Gbit/s).</text>`,
    '</svg>',
  );
  return `${parts.join('\n')}\n`;
}
