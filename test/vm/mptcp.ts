// SPDX-License-Identifier: BSD-2-Clause

/** The host's side of the MPTCP scenarios: a Linux server, see mptcp-peer.ts, and a Linux client, see mptcp-client.ts. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linuxEnd } from './linux-end.js';
import type { MptcpSite } from './mptcp-peer.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

const SITE: MptcpSite = {
  addresses: ['203.0.113.2', '2001:db8:f::2', '198.51.100.2', '2001:db8:e::2'],
  ports: { mptcp: 5009, tcp: 5010, http: 5011, sink: 5012 },
};

export function mptcpHost(): Promise<HostSide | { skip: string }> {
  return linuxEnd({ addresses: SITE.addresses, script: 'mptcp-peer.js', argument: JSON.stringify(SITE) });
}

/** The first of each family is where connections begin, the others are for further subflows. */
const CLIENT = ['203.0.113.2', '203.0.113.3', '203.0.113.4', '203.0.113.5'];
const CLIENT6 = ['2001:db8:f::2', '2001:db8:f::3', '2001:db8:f::4', '2001:db8:f::5'];

export function mptcpPassiveHost(): Promise<HostSide | { skip: string }> {
  return linuxEnd({
    addresses: [...CLIENT, ...CLIENT6],
    script: 'mptcp-client.js',
    argument: JSON.stringify({ addresses: SITE.addresses, ports: SITE.ports }),
  });
}

/** No Linux end, but a wire that can be looked at: a bridge between the guest's two interfaces. */
export function mptcpPairHost(): Promise<HostSide | { skip: string }> {
  return linuxEnd({ addresses: [], more: [[]], script: 'mptcp-bridge.js', argument: '' });
}

/** A program in C for the host's side, in a directory that goes with `close`. */
function compile(
  context: ScenarioContext,
  name: string,
  core: string[],
): { directory: string; program: string; close: () => void } | { skip: string } {
  const directory = mkdtempSync(join(tmpdir(), `amptcp-${name}-`));
  const close = (): void => {
    rmSync(directory, { recursive: true, force: true });
  };
  const program = join(directory, name);
  const sources = join(context.project, 'kmod', 'core');
  try {
    execFileSync(process.env['CC'] ?? 'cc', [
      ...['-std=gnu11', '-O2', '-Wall', '-Wextra', `-I${sources}`, '-o', program],
      join(context.project, 'test', 'vm', `${name}.c`),
      ...core.map((file) => join(sources, file)),
    ]);
  } catch (error) {
    close();
    return { skip: `${name} needs a C compiler: ${(error as Error).message}` };
  }
  return { directory, program, close };
}

/** A Linux end with such a program. */
async function withProgram(
  close: () => void,
  end: { hostile?: string[]; box?: string[]; netdev?: string },
): Promise<HostSide | { skip: string }> {
  const { netdev, ...programs } = end;
  const side = await linuxEnd({
    addresses: [...CLIENT, ...CLIENT6],
    script: 'mptcp-client.js',
    argument: JSON.stringify({ addresses: SITE.addresses, ports: SITE.ports, ...programs }),
    ...(netdev === undefined ? {} : { netdev }),
  }).catch((error: unknown) => {
    close();
    throw error;
  });
  if ('skip' in side) {
    close();
    return side;
  }
  return { ...side, close: () => side.close().finally(close) };
}

/** The same with a middlebox on the way, see middlebox.c. */
export async function mptcpMiddleboxHost(context: ScenarioContext): Promise<HostSide | { skip: string }> {
  const made = compile(context, 'middlebox', []);
  if ('skip' in made) return made;
  const [here, there] = [join(made.directory, 'box'), join(made.directory, 'qemu')];
  return withProgram(made.close, {
    box: [made.program, 'vm0', here, there],
    netdev: `dgram,id=net0,local.type=unix,local.path=${there},remote.type=unix,remote.path=${here}`,
  });
}

/** The same with another peer, which keeps to no rule, see hostile.c. */
export async function mptcpHostileHost(context: ScenarioContext): Promise<HostSide | { skip: string }> {
  const made = compile(context, 'hostile', ['mptcp_option.c', 'mptcp_key.c', 'mptcp_sha256.c']);
  if ('skip' in made) return made;
  return withProgram(made.close, { hostile: [made.program, 'vm0', '203.0.113.1', '02:00:00:00:01:01'] });
}
