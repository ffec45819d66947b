// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type LabReport, exitStatus, jsonReport, tableReport } from '../../../src/lab/report.js';

const part = {
  directMbps: 47.4567,
  aggregateMbps: 91.2345,
  ratio: 1.92247,
  paths: [
    { rloc: '203.0.123.2', bytes: 26_100_000 },
    { rloc: '203.0.124.2', bytes: 26_000_000 },
  ],
  sha256Match: true,
  subflows: 2,
  overheadPercent: { direct: 4.56, aggregate: 8.97 },
};
const report: LabReport = {
  simulated: false,
  rlocs: 2,
  rateMbps: 50,
  ipv6: false,
  bytes: 50_000_000,
  up: part,
  down: part,
  iperf: { up: 90.5, down: 91.5 },
  failures: [],
};

describe('the lab report', () => {
  it('as JSON has what the issue of a result is judged by, and nothing else when all is well', () => {
    const direction = {
      directMbps: 47.46,
      aggregateMbps: 91.23,
      ratio: 1.922,
      paths: part.paths,
      sha256Match: true,
      subflows: 2,
    };
    assert.deepEqual(jsonReport(report), { simulated: false, up: direction, down: direction });
    assert.equal(exitStatus(report), 0);
  });

  it('as a table', () => {
    assert.equal(
      tableReport(report),
      `2 providers at 50 Mbit/s, IPv4, 50 MB each way

                                   upload     download
direct, one provider          47.5 Mbit/s  47.5 Mbit/s
through the gateway, 2 RLOCs  91.2 Mbit/s  91.2 Mbit/s
  the same by iperf3          90.5 Mbit/s  91.5 Mbit/s
ratio                                1.92         1.92
subflows                                2            2
  RLOC 203.0.123.2                26.1 MB      26.1 MB
  RLOC 203.0.124.2                26.0 MB      26.0 MB
SHA-256 at both ends                 same         same
overhead direct                     4.6 %        4.6 %
overhead through the gateway        9.0 %        9.0 %
`,
    );
  });

  it('says what is off, and that it is simulated', () => {
    const off = {
      ...report,
      simulated: true,
      because: ['TUN: there is no /dev/net/tun'],
      failures: ['upload: lost'],
    };
    assert.match(tableReport(off), /^SIMULATED[^]*TUN: there is no[^]*OFF:\n {2}upload: lost\n$/);
    assert.equal(exitStatus(off), 1);
    assert.deepEqual((jsonReport(off) as { failures: string[] }).failures, ['upload: lost']);
  });
});
