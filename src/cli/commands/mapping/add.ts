// SPDX-License-Identifier: BSD-2-Clause
import { Args } from '@oclif/core';
import { iidFlag, prefixArg, rlocOf } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { usage } from '../../failure.js';
import { mappingView } from '../../views.js';

export default class MappingAdd extends DaemonCommand {
  static override summary = 'Add a mapping by hand, or replace one added so.';
  static override description =
    'It outranks what the mapping system says, does not expire, and survives a restart of the daemon. Live connections ' +
    'follow it at once. A mapping of the configuration file is changed there, not here.';
  static override examples = [
    {
      description: 'A site with two providers that share the load evenly',
      command: '<%= config.bin %> mapping add 198.18.1.0/24 203.0.113.130 203.0.114.130',
    },
    {
      description: 'Priority 1 and weights 70 and 30; a third RLOC only when both are down',
      command:
        '<%= config.bin %> mapping add 198.18.1.0/24 203.0.113.130,1,70 203.0.114.130,1,30 203.0.115.130,2,100',
    },
    {
      description: 'IPv6, in instance 7',
      command: '<%= config.bin %> mapping add 2001:db8:1::/48 2001:db8:f1::2 --iid 7',
    },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.refused];
  static override args = {
    eid: prefixArg({ description: 'EID prefix.', required: true }),
    rloc: Args.string({
      description:
        'RLOC as ADDRESS[,PRIORITY[,WEIGHT]]: priority 0 to 255, lower is preferred, 255 is never used (default 1); ' +
        'weight 0 to 100, the share among equal priorities (default 100).',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  };
  static override flags = { iid: iidFlag };

  async run() {
    const { args, flags } = await this.parse(MappingAdd);
    const rlocs = args.rloc.map((text) => rlocOf(text));
    const twice = rlocs.find(
      (rloc, index) => rlocs.findIndex(({ address }) => address === rloc.address) !== index,
    );
    if (twice !== undefined) throw usage(`${twice.address} is named twice.`);
    const api = await this.api(flags);
    const mapping = await api.call('mappingAdd', { body: { eid: args.eid, iid: flags.iid, rlocs } });
    this.print(`Added.\n\n${mappingView(mapping)}`);
    return mapping;
  }
}
