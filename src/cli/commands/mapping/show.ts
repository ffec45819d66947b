// SPDX-License-Identifier: BSD-2-Clause
import { iidFlag, prefixArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { mappingView } from '../../views.js';

export default class MappingShow extends DaemonCommand {
  static override summary = 'Show one mapping of the map-cache.';
  static override description =
    "The prefix must be that of the mapping; 'mapping lookup' finds the longest match for an address.";
  static override examples = [
    { description: 'RLOCs, source and TTL', command: '<%= config.bin %> mapping show 198.18.1.0/24' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound];
  static override args = { eid: prefixArg({ description: 'EID prefix.', required: true }) };
  static override flags = { iid: iidFlag };

  async run() {
    const { args, flags } = await this.parse(MappingShow);
    const api = await this.api(flags);
    const mapping = await api.call('mappingShow', { query: { eid: args.eid, iid: flags.iid } });
    this.print(mappingView(mapping));
    return mapping;
  }
}
