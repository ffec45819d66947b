// SPDX-License-Identifier: BSD-2-Clause
import { DaemonCommand } from '../../base.js';
import { printable } from '../../output.js';
import { properties } from '../../table.js';

/** `a.b[0].c  value` lines. */
function flatten(value: unknown, key: string): [string, string][] {
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== 'object')) return [[key, value.join(', ') || '(none)']];
    return value.flatMap((item, index) => flatten(item, `${key}[${index}]`));
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([name, item]) =>
      flatten(item, key === '' ? name : `${key}.${name}`),
    );
  }
  return [[key, String(value)]];
}

export default class ConfigShow extends DaemonCommand {
  static override summary = 'Show the configuration in effect.';
  static override description = 'With every default filled in. Keys of map-servers and sites are not shown.';
  static override examples = [
    { description: 'All of it', command: '<%= config.bin %> config show' },
    { description: 'As JSON', command: '<%= config.bin %> config show --json' },
  ];

  async run() {
    const { flags } = await this.parse(ConfigShow);
    const api = await this.api(flags);
    const answer = await api.call('configShow');
    this.print(
      `${printable(answer.file)}, loaded ${printable(answer.loadedAt)}\n\n${properties(flatten(answer.config, ''))}`,
    );
    return answer;
  }
}
