// SPDX-License-Identifier: BSD-2-Clause
import { readFileSync } from 'node:fs';

/** The daemon's own default, see amptcpd.conf(5). */
export const DEFAULT_SOCKET = '/var/run/amptcp/amptcpd.sock';

export const DEFAULT_CONFIG_FILE =
  process.platform === 'freebsd' ? '/usr/local/etc/amptcpd.conf' : '/etc/amptcpd.conf';

/**
 * `--socket` and AMPTCP_SOCKET come first and are handled by the flag. Else the socket is the one that the configuration
 * names, where this user may read it (it holds keys, so that most may not), else the default.
 */
export async function configuredSocket(file = DEFAULT_CONFIG_FILE): Promise<string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return DEFAULT_SOCKET;
  }
  try {
    const { parse } = await import('smol-toml');
    const api = parse(text)['api'];
    const socket = typeof api === 'object' && 'socket' in api ? api['socket'] : undefined;
    return typeof socket === 'string' ? socket : DEFAULT_SOCKET;
  } catch {
    // A broken configuration is for `config check` to explain; the daemon may well run with the one before it.
    return DEFAULT_SOCKET;
  }
}
