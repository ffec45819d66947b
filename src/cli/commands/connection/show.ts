// SPDX-License-Identifier: BSD-2-Clause
import { connectionArg, watchFlags } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { connectionView } from '../../views.js';

export default class ConnectionShow extends DaemonCommand {
  static override summary = 'Show one connection with its subflows.';
  static override examples = [
    { description: 'Which RLOCs does it use?', command: '<%= config.bin %> connection show 42' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound];
  static override args = { connection: connectionArg };
  static override flags = watchFlags;

  async run() {
    const { args, flags } = await this.parse(ConnectionShow);
    const api = await this.api(flags);
    return this.show(
      flags,
      () => api.call('connectionShow', { params: { id: args.connection } }),
      (connection) => connectionView(connection),
    );
  }
}
