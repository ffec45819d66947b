// SPDX-License-Identifier: BSD-2-Clause
import { Flags } from '@oclif/core';
import { labFlags } from '../../arguments.js';
import { BaseCommand } from '../../base.js';
import { EXIT, EXIT_COMMON } from '../../exit-codes.js';

export default class LabRun extends BaseCommand {
  static override summary = 'Accelerate a real download and upload in a network made for it.';
  static override description =
    'Makes client, gateway, providers, data centre, server and map-server in network namespaces, transfers a file directly ' +
    'over one provider and through the gateway over all, compares, and removes everything. The own network of this host is ' +
    'not touched. Where namespaces or TUN are not allowed it says so and runs the same on a simulated network.';
  static override examples = [
    { description: 'Two providers at 50 Mbit/s', command: '<%= config.bin %> lab run' },
    {
      description: 'Three providers at 100 Mbit/s, IPv6, 200 MB',
      command: '<%= config.bin %> lab run --rlocs 3 --rate 100 --ipv6 --size 200',
    },
    { description: 'For a script', command: '<%= config.bin %> lab run --json' },
  ];
  static override exitCodes = [...EXIT_COMMON, EXIT.checkFailed];
  static override flags = {
    ...labFlags,
    size: Flags.integer({
      description: 'Size of each transfer in MB.',
      default: 50,
      min: 1,
      max: 100_000,
      helpValue: 'MB',
    }),
    simulate: Flags.boolean({ description: 'Use the simulated network even where namespaces are allowed.' }),
  };

  async run() {
    const { flags } = await this.parse(LabRun);
    const { jsonReport, runLab, tableReport } = await import('../../../lab/index.js');
    const report = await runLab({
      rlocs: flags.rlocs,
      rateMbps: flags.rate,
      ipv6: flags.ipv6,
      bytes: flags.size * 1_000_000,
      simulate: flags.simulate,
      progress: this.jsonEnabled() ? null : process.stderr,
    });
    this.print(tableReport(report).trimEnd());
    // The table says why it is simulated; beside an object for a script it belongs on standard error.
    if (this.jsonEnabled())
      for (const line of report.because ?? []) process.stderr.write(`simulated: ${line}\n`);
    if (report.failures.length > 0) process.exitCode = EXIT.checkFailed;
    return jsonReport(report);
  }
}
