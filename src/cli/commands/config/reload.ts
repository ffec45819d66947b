// SPDX-License-Identifier: BSD-2-Clause
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { printable } from '../../output.js';

export default class ConfigReload extends DaemonCommand {
  static override summary = 'Make the daemon read its configuration again.';
  static override description =
    'All or nothing: with an error in the file, everything stays as it was and the errors are shown. As SIGHUP, but with an answer.';
  static override examples = [{ description: 'After an edit', command: '<%= config.bin %> config reload' }];
  static override exitCodes = [...EXIT_DAEMON, EXIT.checkFailed];

  async run() {
    const { flags } = await this.parse(ConfigReload);
    const api = await this.api(flags);
    const answer = await api.call('configReload');
    this.print(
      answer.changed.length + answer.restart.length === 0
        ? 'Nothing has changed.'
        : [
            ...(answer.changed.length === 0
              ? []
              : [`In effect: ${answer.changed.map(printable).join(', ')}`]),
            ...(answer.restart.length === 0
              ? []
              : [`Needs a restart: ${answer.restart.map(printable).join(', ')}`]),
          ].join('\n'),
    );
    return answer;
  }
}
