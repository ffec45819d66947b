// SPDX-License-Identifier: BSD-2-Clause
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { registrationsView } from '../../views.js';

export default class RegistrationList extends DaemonCommand {
  static override summary = 'List what sites registered with this map-server.';
  static override description =
    'Registrations that were rejected are listed too, with the reason: a wrong key, an EID prefix of no site, an old nonce.';
  static override examples = [
    { description: 'Who is registered, and who failed to', command: '<%= config.bin %> registration list' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.refused];

  async run() {
    const { flags } = await this.parse(RegistrationList);
    const api = await this.api(flags);
    const answer = await api.call('registrationList');
    this.print(registrationsView(answer.registrations));
    return answer;
  }
}
