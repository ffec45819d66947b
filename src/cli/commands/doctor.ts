// SPDX-License-Identifier: BSD-2-Clause
import { Flags } from '@oclif/core';
import { destinationOf } from '../arguments.js';
import { DaemonCommand } from '../base.js';
import { EXIT, EXIT_DAEMON } from '../exit-codes.js';
import { host } from '../host.js';
import { findingsView, pathReportView } from '../views.js';

export default class Doctor extends DaemonCommand {
  static override summary = 'Say what is missing on this host, or on the way to a destination.';
  static override description =
    'Without --path, looks at this host: kernel features, modules, programs, privileges, and how to get what is missing. ' +
    'This needs no daemon. With --path, the running daemon tries whether MPTCP, LISP and the MTU get through to a destination.';
  static override examples = [
    { description: 'Can this host be a gateway?', command: '<%= config.bin %> doctor' },
    {
      description: 'Why is this server not faster? Do middleboxes let multipath through?',
      command: '<%= config.bin %> doctor --path 198.18.1.10:443',
    },
    { command: "<%= config.bin %> doctor --path '[2001:db8:1::10]:443'", description: 'IPv6' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.checkFailed];
  static override flags = {
    path: Flags.string({ description: 'Destination to try, with its port.', helpValue: 'ADDRESS:PORT' }),
  };

  async run() {
    const { flags } = await this.parse(Doctor);
    if (flags.path === undefined) {
      const findings = await host.findings();
      this.print(findingsView(findings));
      return this.verdict({ findings });
    }
    const destination = destinationOf(flags.path);
    const api = await this.api(flags);
    const report = await api.call('doctorPath', { query: { destination }, timeoutMs: 120_000 });
    this.print(pathReportView(report));
    return this.verdict(report);
  }

  private verdict<T extends { findings: { ok: boolean }[] }>(report: T): T {
    if (report.findings.some((finding) => !finding.ok)) process.exitCode = EXIT.checkFailed;
    return report;
  }
}
