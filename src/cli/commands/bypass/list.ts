// SPDX-License-Identifier: BSD-2-Clause
import { DaemonCommand } from '../../base.js';
import { bypassView } from '../../views.js';

export default class BypassList extends DaemonCommand {
  static override summary = 'List the destinations that are not intercepted for now.';
  static override description =
    'The mapping system knows no RLOCs for them; they are asked for again when their time is over.';
  static override examples = [{ description: 'All of them', command: '<%= config.bin %> bypass list' }];

  async run() {
    const { flags } = await this.parse(BypassList);
    const api = await this.api(flags);
    const answer = await api.call('bypassList');
    this.print(bypassView(answer.bypass));
    return answer;
  }
}
