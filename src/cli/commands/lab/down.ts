// SPDX-License-Identifier: BSD-2-Clause
import { BaseCommand } from '../../base.js';

export default class LabDown extends BaseCommand {
  static override summary = 'Remove the standing test network.';
  static override examples = [{ description: "After 'lab up'", command: '<%= config.bin %> lab down' }];

  async run() {
    await this.parse(LabDown);
    const { labDown } = await import('../../../lab/index.js');
    const removed = await labDown();
    this.print(removed ? 'The lab is removed.' : 'There was no lab standing.');
    return { removed };
  }
}
