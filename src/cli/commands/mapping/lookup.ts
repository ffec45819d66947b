// SPDX-License-Identifier: BSD-2-Clause
import { iidFlag, prefixArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { Failure } from '../../failure.js';
import { mappingView } from '../../views.js';
import { duration } from '../../units.js';

export default class MappingLookup extends DaemonCommand {
  static override summary = 'Find the mapping of an EID, asking the mapping system when it is not cached.';
  static override examples = [
    {
      description: 'How would a connection to this server travel?',
      command: '<%= config.bin %> mapping lookup 198.18.1.10',
    },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound];
  static override args = { eid: prefixArg({ description: 'EID, an address or a prefix.', required: true }) };
  static override flags = { iid: iidFlag };

  async run() {
    const { args, flags } = await this.parse(MappingLookup);
    const api = await this.api(flags);
    const answer = await api.call('mappingLookup', { query: { eid: args.eid, iid: flags.iid } });
    if (answer.status === 'unreachable') {
      throw new Failure(
        `The mapping system did not answer for ${args.eid}: ${answer.reason ?? 'no reason given'}.`,
        EXIT.timeout,
        'timeout',
      );
    }
    if (answer.mapping === undefined)
      throw new Failure(`No mapping for ${args.eid}.`, EXIT.notFound, 'not-found');
    const how = answer.asked
      ? `Answered by the mapping system in ${duration(answer.elapsedMs)}.`
      : 'Answered from the map-cache.';
    this.print(`${how}\n\n${mappingView(answer.mapping)}`);
    return answer;
  }
}
