// SPDX-License-Identifier: BSD-2-Clause
import { Flags } from '@oclif/core';
import { addressOf, connectionArg, textArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { subflowsView } from '../../views.js';

export default class SubflowAdd extends DaemonCommand {
  static override summary = 'Add a subflow to a connection, over a given RLOC of the destination.';
  static override description =
    'The subflow is pinned to the path before its SYN leaves. The peer may refuse it when its own limit is reached.';
  static override examples = [
    {
      description: "Over the destination's RLOC 203.0.114.130",
      command: '<%= config.bin %> subflow add 42 203.0.114.130',
    },
    {
      description: 'From a given RLOC of this host, as backup',
      command: '<%= config.bin %> subflow add 42 203.0.114.130 --local 203.0.114.2 --backup',
    },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound, EXIT.refused];
  static override args = {
    connection: connectionArg,
    rloc: textArg({ description: "RLOC of the destination's mapping.", required: true }),
  };
  static override flags = {
    local: Flags.string({
      description: 'RLOC of this host; by default the planner chooses.',
      helpValue: 'ADDRESS',
    }),
    backup: Flags.boolean({ description: 'Use it only when no other subflow is left (MP_PRIO).' }),
  };

  async run() {
    const { args, flags } = await this.parse(SubflowAdd);
    const body = {
      remote: addressOf(args.rloc, 'RLOC'),
      ...(flags.local === undefined ? {} : { local: addressOf(flags.local, '--local') }),
      ...(flags.backup ? { backup: true } : {}),
    };
    const api = await this.api(flags);
    const subflow = await api.call('subflowAdd', { params: { id: args.connection }, body });
    this.print(`Added.\n\n${subflowsView([subflow])}`);
    return subflow;
  }
}
