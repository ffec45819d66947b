// SPDX-License-Identifier: BSD-2-Clause
import { CommandHelp, Help } from '@oclif/core';
import { DEFAULT_SOCKET } from './socket.js';
import { EXIT_COMMON, EXIT_MEANING, type ExitCode } from './exit-codes.js';

const exitStatus = (codes: readonly ExitCode[]): [string, string][] =>
  codes.map((code) => [String(code), EXIT_MEANING[code]]);

class AmptcpCommandHelp extends CommandHelp {
  protected override sections() {
    const codes = (this.command as { exitCodes?: readonly ExitCode[] }).exitCodes ?? EXIT_COMMON;
    const sorted = [...codes].sort((a, b) => a - b);
    return [
      ...super.sections(),
      { header: 'EXIT STATUS', generate: () => [{ header: 'EXIT STATUS', body: exitStatus(sorted) }] },
    ].filter(({ header }) => !this.opts.sections || this.opts.sections.includes(header.toLowerCase()));
  }
}

/** oclif's help with what an administrator looks for last: exit status and environment. */
export default class AmptcpHelp extends Help {
  protected override CommandHelpClass = AmptcpCommandHelp;

  protected override async showRootHelp(): Promise<void> {
    await super.showRootHelp();
    const codes = Object.keys(EXIT_MEANING).map((code) => Number(code) as ExitCode);
    this.log(this.section('EXIT STATUS', exitStatus(codes)));
    this.log('');
    this.log(
      this.section('ENVIRONMENT', [
        [
          'AMPTCP_SOCKET',
          "The daemon's socket, as --socket. Else it is the one that the configuration names.",
        ],
      ]),
    );
    this.log('');
    this.log(
      this.section(
        'API',
        this.wrap(
          "All this is HTTP+JSON on the daemon's socket: GET /v1/openapi.json describes it, GET /metrics is for Prometheus.\n\n" +
            `$ curl --unix-socket ${DEFAULT_SOCKET} http://amptcpd/v1/status`,
        ),
      ),
    );
    this.log('');
  }
}
