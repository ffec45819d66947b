// SPDX-License-Identifier: BSD-2-Clause
import { Args } from '@oclif/core';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { BaseCommand } from '../../base.js';
import { textArg } from '../../arguments.js';

export default class LabEnter extends BaseCommand {
  static override enableJsonFlag = false;
  static override summary = 'Run a shell, or a command, in a host of the standing test network.';
  static override description = 'Its exit status is that of the command.';
  static override usage = 'lab enter HOST [-- COMMAND...]';
  static override examples = [
    { description: 'A shell in the gateway', command: '<%= config.bin %> lab enter gateway' },
    {
      description: 'A download in the client',
      command: '<%= config.bin %> lab enter client -- curl -so /dev/null http://198.18.1.10/50M',
    },
  ];
  static override args = {
    host: textArg({ description: "Host, as 'lab up' lists them.", required: true }),
    command: Args.string({
      description: 'Command; a shell when left out.',
      multiple: true,
      ignoreStdin: true,
    }),
  };

  async run(): Promise<void> {
    const { args } = await this.parse(LabEnter);
    const { labEnter } = await import('../../../lab/index.js');
    const [program = '', ...rest] =
      args.command === undefined ? labEnter(args.host) : labEnter(args.host, args.command);
    // Ctrl-C is for the command; it decides what comes of it.
    const ignore = (): void => undefined;
    process.on('SIGINT', ignore);
    const status = await new Promise<number>((resolve, reject) => {
      const child = spawn(program, rest, { stdio: 'inherit' });
      child.on('error', reject);
      child.on('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
    process.off('SIGINT', ignore);
    process.exitCode = status;
  }
}
