// SPDX-License-Identifier: BSD-2-Clause
import { iidFlag } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { plural } from '../../units.js';

export default class MappingFlush extends DaemonCommand {
  static override summary = 'Forget every learnt mapping.';
  static override description =
    'Mappings of the configuration and those added by hand stay. What is needed is asked for anew.';
  static override examples = [
    { description: 'All instances', command: '<%= config.bin %> mapping flush' },
    { description: 'One instance', command: '<%= config.bin %> mapping flush --iid 7' },
  ];
  static override flags = { iid: iidFlag };

  async run() {
    const { flags } = await this.parse(MappingFlush);
    const api = await this.api(flags);
    const answer = await api.call('mappingFlush', { body: { iid: flags.iid } });
    this.print(`Forgot ${plural(answer.flushed, 'mapping')}.`);
    return answer;
  }
}
