// SPDX-License-Identifier: BSD-2-Clause
import { watchFlags } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { connectionsView } from '../../views.js';

export default class ConnectionList extends DaemonCommand {
  static override summary = 'List the proxied connections.';
  static override description =
    "Protocol 'mptcp' has a subflow per RLOC, 'tcp' is a server without MPTCP, 'direct' went by ordinary routes without LISP.";
  static override examples = [
    { description: 'All of them', command: '<%= config.bin %> connection list' },
    {
      description: 'With their rates, every two seconds',
      command: '<%= config.bin %> connection list -n 2',
    },
  ];
  static override flags = watchFlags;

  async run() {
    const { flags } = await this.parse(ConnectionList);
    const api = await this.api(flags);
    return this.show(
      flags,
      () => api.call('connectionList'),
      (now, before) =>
        connectionsView(now.connections, before && { ...before, value: before.value.connections }),
    );
  }
}
