// SPDX-License-Identifier: BSD-2-Clause
import { watchFlags } from '../arguments.js';
import { DaemonCommand } from '../base.js';
import { statusView } from '../views.js';

export default class Status extends DaemonCommand {
  static override summary = 'Show what the daemon is and does.';
  static override description =
    'Roles, connections, octets, paths, the data plane and its drops, map-servers, and what deserves attention.';
  static override examples = [
    { description: 'Is it running, and does it have work?', command: '<%= config.bin %> status' },
    { description: 'Watch the rates', command: '<%= config.bin %> status --watch' },
    { description: 'For a script', command: '<%= config.bin %> status --json' },
  ];
  static override flags = watchFlags;

  async run() {
    const { flags } = await this.parse(Status);
    const api = await this.api(flags);
    return this.show(flags, () => api.call('status'), statusView);
  }
}
