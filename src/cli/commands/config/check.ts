// SPDX-License-Identifier: BSD-2-Clause
import { textArg } from '../../arguments.js';
import { BaseCommand } from '../../base.js';
import { EXIT, EXIT_COMMON } from '../../exit-codes.js';
import { Failure, failureLine } from '../../failure.js';
import { plural } from '../../units.js';

export default class ConfigCheck extends BaseCommand {
  static override summary = 'Check a configuration file.';
  static override description =
    'Needs no daemon and changes nothing. Every error is named with its line, its key and what was expected. As amptcpd -n.';
  static override examples = [
    { description: 'The file that the daemon uses', command: '<%= config.bin %> config check' },
    { description: 'Another one', command: '<%= config.bin %> config check ./amptcpd.conf' },
  ];
  static override exitCodes = [...EXIT_COMMON, EXIT.checkFailed];
  static override args = { file: textArg({ description: "File to check; the daemon's own when left out." }) };

  async run() {
    const { args } = await this.parse(ConfigCheck);
    const { ConfigError, DEFAULT_CONFIG, loadConfig } = await import('../../../daemon/config.js');
    const file = args.file ?? DEFAULT_CONFIG;
    try {
      const { warnings } = loadConfig(file);
      this.print(
        [`${file}: no errors.`, ...warnings.map((warning) => `Warning: ${failureLine(warning)}`)].join('\n'),
      );
      return { file, ok: true, warnings };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new Failure(
        `${file} has ${plural(error.problems.length, 'error')}:`,
        EXIT.checkFailed,
        'invalid-config',
        undefined,
        error.problems,
      );
    }
  }
}
