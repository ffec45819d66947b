// SPDX-License-Identifier: BSD-2-Clause
import { iidFlag } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { mappingsView } from '../../views.js';

export default class MappingList extends DaemonCommand {
  static override summary = 'List the map-cache.';
  static override description =
    'Every mapping the daemon knows now, with where it came from: the configuration (static), this command (cli), ' +
    'a Map-Reply or a Map-Notify. A mapping without RLOCs shows its action instead.';
  static override examples = [
    { description: 'All of them', command: '<%= config.bin %> mapping list' },
    { description: 'Of one instance', command: '<%= config.bin %> mapping list --iid 7' },
  ];
  static override flags = { iid: iidFlag };

  async run() {
    const { flags } = await this.parse(MappingList);
    const api = await this.api(flags);
    const answer = await api.call('mappingList', { query: { iid: flags.iid } });
    this.print(mappingsView(answer.mappings));
    return answer;
  }
}
