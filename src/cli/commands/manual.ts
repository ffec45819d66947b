// SPDX-License-Identifier: BSD-2-Clause
import { BaseCommand } from '../base.js';
import { manual } from '../manual.js';
import { output } from '../output.js';

export default class Manual extends BaseCommand {
  /** For packagers. */
  static override hidden = true;
  static override enableJsonFlag = false;
  static override summary = 'Print the manual page amptcp(8) in mdoc.';
  static override examples = [{ description: 'Read it', command: '<%= config.bin %> manual | mandoc -l' }];

  async run(): Promise<void> {
    await this.parse(Manual);
    output.stdout(manual(this.config));
  }
}
