// SPDX-License-Identifier: BSD-2-Clause
import { labFlags } from '../../arguments.js';
import { BaseCommand } from '../../base.js';
import { table } from '../../table.js';

export default class LabUp extends BaseCommand {
  static override summary = 'Make the test network and leave it standing.';
  static override description =
    "With every daemon and server running. 'lab enter' opens a shell in one of its hosts, 'lab down' removes it all.";
  static override examples = [
    { description: 'Two providers at 50 Mbit/s', command: '<%= config.bin %> lab up' },
    { description: 'Three providers, not shaped', command: '<%= config.bin %> lab up --rlocs 3 --rate 0' },
  ];
  static override flags = labFlags;

  async run() {
    const { flags } = await this.parse(LabUp);
    const { labUp } = await import('../../../lab/index.js');
    const lab = await labUp({
      rlocs: flags.rlocs,
      rateMbps: flags.rate,
      ipv6: flags.ipv6,
      progress: this.jsonEnabled() ? null : process.stderr,
    });
    const sockets = new Map(lab.sockets.map(({ host, path }) => [host, path]));
    this.print(
      [
        table(lab.hosts, [
          { header: 'HOST', value: ({ name }) => name },
          { header: 'ENTER IT WITH', value: ({ name }) => `amptcp lab enter ${name}` },
          {
            header: 'ITS DAEMON',
            value: ({ name }) => sockets.get(name) && `amptcp status --socket ${sockets.get(name)}`,
          },
        ]),
        '',
        "Remove it with 'amptcp lab down'.",
      ].join('\n'),
    );
    return lab;
  }
}
