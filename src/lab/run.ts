// SPDX-License-Identifier: BSD-2-Clause

/**
 * The main job of the lab: a real client's upload and download, directly over one provider and through the gateway over
 * all of them, and what must hold of them.
 */
import type { LabRunOptions } from './index.js';
import { PORTS } from './configs.js';
import { type WireJudgement, judgeWire } from './judge.js';
import { Lab, type Transfer } from './lab.js';
import { LabError } from './process.js';
import { Progress } from './progress.js';
import type { DirectionReport, LabReport } from './report.js';
import { missing } from './requirements.js';
import { runSimulated } from './simulated.js';
import { MAX_RLOCS, addresses } from './topology.js';

const DEFAULT_BYTES = 50_000_000;

export async function runScenario(options: LabRunOptions): Promise<LabReport> {
  const rlocs = options.rlocs ?? 2;
  const rateMbps = options.rateMbps ?? 50;
  const bytes = options.bytes ?? DEFAULT_BYTES;
  const ipv6 = options.ipv6 ?? false;
  if (!Number.isInteger(rlocs) || rlocs < 1 || rlocs > MAX_RLOCS)
    throw new LabError(`1 to ${MAX_RLOCS} RLOCs, not ${rlocs}`);
  if (!(rateMbps >= 0)) throw new LabError(`a rate in Mbit/s, 0 for unshaped, not ${rateMbps}`);
  if (!Number.isSafeInteger(bytes) || bytes < 1)
    throw new LabError(`a size of at least one octet, not ${bytes}`);
  const progress = new Progress(options.progress === undefined ? process.stderr : options.progress);
  const basics = { rlocs, rateMbps, ipv6, bytes };

  const problems = options.simulate
    ? [{ name: 'asked for', detail: 'simulation', remedy: '' }]
    : await missing();
  if (problems.length > 0) {
    const because = problems.map(
      ({ name, detail, remedy }) => `${name}: ${detail}${remedy ? ` (remedy: ${remedy})` : ''}`,
    );
    for (const line of because) progress.step(`not possible here, ${line}`);
    progress.step('running the same scenario on the memory platform: simulated');
    return { ...(await runSimulated(basics, progress)), because };
  }

  const family = ipv6 ? 6 : 4;
  const lab = await Lab.create({ rlocs, rateMbps, family, onStep: (text) => progress.step(text) });
  const stop = onSignals(() => lab.close());
  try {
    await lab.startServers();
    // The direct transfers come first: nothing of the product runs yet.
    const directUp = await measured(lab, progress, 'upload, direct', 'up', bytes, PORTS.direct);
    const directDown = await measured(lab, progress, 'download, direct', 'down', bytes, PORTS.direct);
    await lab.startDaemons();
    await lab.watch();
    const failures: string[] = [];
    const up = await proxied(lab, progress, 'up', bytes, directUp, failures);
    const down = await proxied(lab, progress, 'down', bytes, directDown, failures);
    await lab.startIperf();
    const seconds = 2;
    progress.step('iperf3, upload');
    const iperfUp = await lab.iperf('up', seconds);
    progress.step('iperf3, download');
    const iperfDown = await lab.iperf('down', seconds);
    return { simulated: false, ...basics, up, down, iperf: { up: iperfUp, down: iperfDown }, failures };
  } finally {
    progress.end();
    stop();
    await lab.close();
  }
}

interface Measured {
  transfer: Transfer;
  /** Octets of Ethernet frames that left the providers in the direction of the file. */
  wireBytes: number;
}

async function measured(
  lab: Lab,
  progress: Progress,
  title: string,
  direction: 'up' | 'down',
  bytes: number,
  port: number,
): Promise<Measured> {
  const before = await lab.providerCounters();
  const live = progress.live(title, lab, direction);
  try {
    const transfer = await lab.transfer({ direction, bytes, port, timeoutMs: 600_000 });
    const after = await lab.providerCounters();
    const wireBytes = after.reduce(
      (sum, counters, index) => sum + counters[direction] - before[index]![direction],
      0,
    );
    return { transfer, wireBytes };
  } finally {
    await live.stop();
  }
}

/** Octets the gateway's plane has moved, by remote RLOC. */
async function planeBytes(lab: Lab, direction: 'up' | 'down'): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const path of (await lab.api('gateway', 'pathList')).paths) {
    sums.set(
      path.remote,
      (sums.get(path.remote) ?? 0) + (direction === 'up' ? path.bytesSent : path.bytesReceived),
    );
  }
  return sums;
}

const NAMES = { up: 'upload', down: 'download' };

async function proxied(
  lab: Lab,
  progress: Progress,
  direction: 'up' | 'down',
  bytes: number,
  direct: Measured,
  failures: string[],
): Promise<DirectionReport> {
  const name = NAMES[direction];
  const wireBefore = await lab.wireFlows();
  const planeBefore = await planeBytes(lab, direction);
  const { transfer, wireBytes } = await measured(
    lab,
    progress,
    `${name}, gateway`,
    direction,
    bytes,
    PORTS.http,
  );
  const planeAfter = await planeBytes(lab, direction);
  const judgement = judgeWire(lab, wireBefore, await lab.wireFlows(), PORTS.http);

  if (!direct.transfer.sha256Match) failures.push(`direct ${name}: what arrived is not what was sent`);
  if (!transfer.sha256Match) failures.push(`${name}: what arrived is not what was sent`);
  failures.push(...judgement.failures.map((text) => `${name}: ${text}`));
  failures.push(...expectSubflows(name, lab.rlocs, judgement));
  const servers = Array.from({ length: lab.rlocs }, (_, index) =>
    addresses.rloc(lab.family, lab.site, index + 1),
  );
  return {
    directMbps: direct.transfer.mbps,
    aggregateMbps: transfer.mbps,
    ratio: transfer.mbps / direct.transfer.mbps,
    paths: servers.map((rloc) => ({
      rloc,
      bytes: (planeAfter.get(rloc) ?? 0) - (planeBefore.get(rloc) ?? 0),
    })),
    sha256Match: transfer.sha256Match,
    subflows: judgement.subflows,
    overheadPercent: {
      direct: (direct.wireBytes / bytes - 1) * 100,
      aggregate: (wireBytes / bytes - 1) * 100,
    },
  };
}

function expectSubflows(name: string, rlocs: number, judgement: WireJudgement): string[] {
  return judgement.subflows === rlocs ? [] : [`${name}: ${judgement.subflows} subflows on ${rlocs} RLOCs`];
}

/** A lab is taken down on Ctrl-C too; killed by -9 it goes with the holder's standard input. */
function onSignals(close: () => Promise<void>): () => void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const handler = (signal: NodeJS.Signals): void => {
    void close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  for (const signal of signals) process.once(signal, handler);
  return () => {
    for (const signal of signals) process.removeListener(signal, handler);
  };
}
