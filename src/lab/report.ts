// SPDX-License-Identifier: BSD-2-Clause

/** What a run found, as a table for people and JSON for programs. */

export interface DirectionReport {
  /** One provider, past the gateway's proxy. */
  directMbps: number;
  /** Through the gateway, over all. */
  aggregateMbps: number;
  ratio: number;
  /** Octets in LISP by RLOC of the data centre, as the gateway's data plane counts them. */
  paths: { rloc: string; bytes: number }[];
  sha256Match: boolean;
  subflows: number;
  /** What left the providers beyond the file itself, percent of the file. */
  overheadPercent?: { direct: number; aggregate: number };
}

export interface LabReport {
  simulated: boolean;
  /** Why it is simulated. */
  because?: string[];
  rlocs: number;
  rateMbps: number;
  ipv6: boolean;
  bytes: number;
  up: DirectionReport;
  down: DirectionReport;
  /** Mbit/s of iperf3 through the gateway. */
  iperf?: { up: number; down: number };
  /** One sentence each; empty when all is as it should be. */
  failures: string[];
}

export const exitStatus = (report: LabReport): number => (report.failures.length > 0 ? 1 : 0);

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** The object `--json` prints. */
export function jsonReport(report: LabReport): object {
  const direction = (part: DirectionReport): object => ({
    directMbps: round(part.directMbps, 2),
    aggregateMbps: round(part.aggregateMbps, 2),
    ratio: round(part.ratio, 3),
    paths: part.paths,
    sha256Match: part.sha256Match,
    subflows: part.subflows,
  });
  return {
    simulated: report.simulated,
    up: direction(report.up),
    down: direction(report.down),
    ...(report.failures.length > 0 ? { failures: report.failures } : {}),
  };
}

function columns(rows: string[][]): string {
  const widths = rows[0]!.map((_, index) => Math.max(...rows.map((row) => row[index]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, index) => (index === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[index]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function tableReport(report: LabReport): string {
  const { up, down } = report;
  const title = `${report.rlocs} providers at ${report.rateMbps > 0 ? `${report.rateMbps} Mbit/s` : 'full speed'}, IPv${report.ipv6 ? 6 : 4}, ${round(report.bytes / 1e6, 1)} MB each way`;
  const mbps = (value: number): string => `${value.toFixed(1)} Mbit/s`;
  const percent = (value: number | undefined): string => (value === undefined ? '' : `${value.toFixed(1)} %`);
  const rows: string[][] = [['', 'upload', 'download']];
  rows.push(['direct, one provider', mbps(up.directMbps), mbps(down.directMbps)]);
  rows.push([`through the gateway, ${report.rlocs} RLOCs`, mbps(up.aggregateMbps), mbps(down.aggregateMbps)]);
  if (report.iperf) rows.push(['  the same by iperf3', mbps(report.iperf.up), mbps(report.iperf.down)]);
  rows.push(['ratio', up.ratio.toFixed(2), down.ratio.toFixed(2)]);
  rows.push(['subflows', String(up.subflows), String(down.subflows)]);
  const rlocs = [...new Set([...up.paths, ...down.paths].map(({ rloc }) => rloc))].sort();
  for (const rloc of rlocs) {
    const bytes = (part: DirectionReport): string => {
      const found = part.paths.find((path) => path.rloc === rloc);
      return found ? `${(found.bytes / 1e6).toFixed(1)} MB` : '-';
    };
    rows.push([`  RLOC ${rloc}`, bytes(up), bytes(down)]);
  }
  rows.push([
    'SHA-256 at both ends',
    up.sha256Match ? 'same' : 'DIFFERENT',
    down.sha256Match ? 'same' : 'DIFFERENT',
  ]);
  if (up.overheadPercent && down.overheadPercent) {
    rows.push(['overhead direct', percent(up.overheadPercent.direct), percent(down.overheadPercent.direct)]);
    rows.push([
      'overhead through the gateway',
      percent(up.overheadPercent.aggregate),
      percent(down.overheadPercent.aggregate),
    ]);
  }
  const simulated = report.simulated
    ? `SIMULATED network and MPTCP (gateway, control plane, C core and bytes are real), because:\n${(report.because ?? []).map((why) => `  ${why}\n`).join('')}\n`
    : '';
  const failures =
    report.failures.length > 0 ? `\n\nOFF:\n${report.failures.map((text) => `  ${text}`).join('\n')}` : '';
  return `${simulated}${title}\n\n${columns(rows)}${failures}\n`;
}
