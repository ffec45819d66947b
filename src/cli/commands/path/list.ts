// SPDX-License-Identifier: BSD-2-Clause
import { watchFlags } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { pathsView } from '../../views.js';

export default class PathList extends DaemonCommand {
  static override summary = 'List the paths: pairs of a local and a remote RLOC.';
  static override examples = [
    { description: 'State, RTT, MTU and counters', command: '<%= config.bin %> path list' },
    { description: 'The rate of each path, live', command: '<%= config.bin %> path list --watch' },
  ];
  static override flags = watchFlags;

  async run() {
    const { flags } = await this.parse(PathList);
    const api = await this.api(flags);
    return this.show(
      flags,
      () => api.call('pathList'),
      (now, before) => pathsView(now.paths, before && { ...before, value: before.value.paths }),
    );
  }
}
