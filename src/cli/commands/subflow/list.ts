// SPDX-License-Identifier: BSD-2-Clause
import { connectionArg, watchFlags } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { subflowsView } from '../../views.js';

export default class SubflowList extends DaemonCommand {
  static override summary = 'List the subflows of a connection.';
  static override description = "A subflow that the peer did not take is shown as 'refused'.";
  static override examples = [
    { description: 'Octets, retransmits and RTT by RLOC', command: '<%= config.bin %> subflow list 42' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound];
  static override args = { connection: connectionArg };
  static override flags = watchFlags;

  async run() {
    const { args, flags } = await this.parse(SubflowList);
    const api = await this.api(flags);
    return this.show(
      flags,
      () => api.call('subflowList', { params: { id: args.connection } }),
      (now) => subflowsView(now.subflows),
    );
  }
}
