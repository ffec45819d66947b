// SPDX-License-Identifier: BSD-2-Clause
import { connectionArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';

export default class ConnectionKill extends DaemonCommand {
  static override summary = 'Reset a connection towards client and server.';
  static override examples = [
    { description: 'By its number', command: '<%= config.bin %> connection kill 42' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound];
  static override args = { connection: connectionArg };

  async run() {
    const { args, flags } = await this.parse(ConnectionKill);
    const api = await this.api(flags);
    const answer = await api.call('connectionKill', { params: { id: args.connection } });
    this.print(`Reset connection ${args.connection}.`);
    return answer;
  }
}
