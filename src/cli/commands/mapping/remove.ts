// SPDX-License-Identifier: BSD-2-Clause
import { iidFlag, prefixArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';

export default class MappingRemove extends DaemonCommand {
  static override summary = 'Remove a mapping that was added by hand.';
  static override description =
    'A mapping of the configuration file is refused: it is removed there. So is a learnt one: see mapping flush.';
  static override examples = [
    { description: 'By its prefix', command: '<%= config.bin %> mapping remove 198.18.1.0/24' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound, EXIT.refused];
  static override args = { eid: prefixArg({ description: 'EID prefix.', required: true }) };
  static override flags = { iid: iidFlag };

  async run() {
    const { args, flags } = await this.parse(MappingRemove);
    const api = await this.api(flags);
    const answer = await api.call('mappingRemove', { query: { eid: args.eid, iid: flags.iid } });
    this.print(`Removed ${args.eid}.`);
    return answer;
  }
}
