// SPDX-License-Identifier: BSD-2-Clause
import { connectionArg, subflowArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';

export default class SubflowRemove extends DaemonCommand {
  static override summary = 'Remove a subflow from a connection.';
  static override description =
    'What it had in flight is sent again over the others. The last subflow is refused: kill the connection instead.';
  static override examples = [
    { description: 'Subflow 1 of connection 42', command: '<%= config.bin %> subflow remove 42 1' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound, EXIT.refused];
  static override args = { connection: connectionArg, subflow: subflowArg };

  async run() {
    const { args, flags } = await this.parse(SubflowRemove);
    const api = await this.api(flags);
    const answer = await api.call('subflowRemove', {
      params: { id: args.connection, subflow: args.subflow },
    });
    this.print(`Removed subflow ${args.subflow} of connection ${args.connection}.`);
    return answer;
  }
}
