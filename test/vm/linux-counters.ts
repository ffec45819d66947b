// SPDX-License-Identifier: BSD-2-Clause
import { readFileSync } from 'node:fs';

/** The MPTCP counters of this network namespace that are not 0, as name=value. /proc/net/netstat has a line of names and one of values for each table. */
export function mptcpCounters(): string {
  const [names = '', values = ''] = readFileSync('/proc/net/netstat', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('MPTcpExt:'));
  const numbers = values.split(' ');
  return names
    .split(' ')
    .map((name, i) => `${name}=${numbers[i] ?? ''}`)
    .slice(1)
    .filter((pair) => !pair.endsWith('=0'))
    .join(' ');
}
