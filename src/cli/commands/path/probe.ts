// SPDX-License-Identifier: BSD-2-Clause
import { addressOf, textArg } from '../../arguments.js';
import { DaemonCommand } from '../../base.js';
import { EXIT, EXIT_DAEMON } from '../../exit-codes.js';
import { pathsView } from '../../views.js';

export default class PathProbe extends DaemonCommand {
  static override summary = 'Probe paths now and show the answers.';
  static override description =
    'RLOC-probing as of RFC 9301 section 7.1. Exits with 7 when a probed path is down.';
  static override examples = [
    { description: 'Every path', command: '<%= config.bin %> path probe' },
    { description: 'Every path to one RLOC', command: '<%= config.bin %> path probe 203.0.114.130' },
  ];
  static override exitCodes = [...EXIT_DAEMON, EXIT.notFound, EXIT.checkFailed];
  static override args = { rloc: textArg({ description: 'Remote RLOC; all of them when left out.' }) };

  async run() {
    const { args, flags } = await this.parse(PathProbe);
    const remote = args.rloc === undefined ? undefined : addressOf(args.rloc, 'RLOC');
    const api = await this.api(flags);
    const answer = await api.call('pathProbe', { body: { remote } });
    this.print(pathsView(answer.paths));
    if (answer.paths.some((path) => path.state === 'down')) process.exitCode = EXIT.checkFailed;
    return answer;
  }
}
