// SPDX-License-Identifier: BSD-2-Clause
import { DaemonCommand } from '../../base.js';
import { configText } from '../../config-text.js';
import { printable } from '../../output.js';

export default class ConfigShow extends DaemonCommand {
  static override summary = 'Show the configuration in effect.';
  static override description =
    'As a configuration file with every default filled in. Keys of map-servers and sites are not shown.';
  static override examples = [
    { description: 'All of it', command: '<%= config.bin %> config show' },
    { description: 'As JSON', command: '<%= config.bin %> config show --json' },
  ];

  async run() {
    const { flags } = await this.parse(ConfigShow);
    const api = await this.api(flags);
    const answer = await api.call('configShow');
    const text = configText(answer.config).split('\n').map(printable).join('\n');
    this.print(`# ${printable(answer.file)}, loaded ${printable(answer.loadedAt)}\n${text}`);
    return answer;
  }
}
