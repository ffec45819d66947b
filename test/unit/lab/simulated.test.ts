// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { jsonReport, runLab } from '../../../src/lab/index.js';

describe('the scenario on the memory platform', () => {
  const cases = [
    { title: 'two providers', options: {}, ratio: 1.7 },
    { title: 'two providers, IPv6', options: { ipv6: true }, ratio: 1.7 },
    { title: 'three providers', options: { rlocs: 3 }, ratio: 2.4 },
  ];
  for (const { title, options, ratio } of cases) {
    it(`${title}: bytes arrive whole, by all RLOCs, at nearly the sum of the rates`, async () => {
      const report = await runLab({ ...options, bytes: 5_000_000, simulate: true, progress: null });
      assert.deepEqual(report.failures, []);
      assert.equal((jsonReport(report) as { simulated: boolean }).simulated, true);
      for (const part of [report.up, report.down]) {
        assert.ok(part.ratio > ratio, `${part.ratio}`);
        assert.equal(part.sha256Match, true);
        assert.equal(part.subflows, report.rlocs);
        for (const { bytes } of part.paths) assert.ok(bytes > report.bytes / report.rlocs / 2, `${bytes}`);
      }
    });
  }
});
