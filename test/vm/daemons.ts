// SPDX-License-Identifier: BSD-2-Clause

/**
 * Whole daemons of a scenario: amptcpd as a user starts it. Where Node.js is in the guest they run there; else on the host, those
 * that need FreeBSD's kernel with the guest's (as-freebsd.ts).
 */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VmEnvironment } from './environment.js';

export interface DaemonSite {
  /** Of the agent, and in which jail; absent: on the host's own kernel. */
  agent?: { address: string; jail: string };
  /** The configuration without state_dir, socket and log; by name, the first is the one it starts with. */
  configs: Record<string, string>;
  /** Whose group the file is. */
  gid?: number;
}

export interface DaemonsSite {
  /** 'NETWORK via ADDRESS' */
  routes: string[];
  daemons: Record<string, DaemonSite>;
}

/** Keys of the root table come before all others. */
export function completeConfig(text: string, home: string): string {
  const [, head = '', tables = ''] = /^((?:(?!\[).*\n)*)([^]*)$/.exec(text) ?? [];
  const own = `state_dir = ${JSON.stringify(join(home, 'state'))}\n`;
  const api = `[api]\nsocket = ${JSON.stringify(join(home, 'run', 'amptcpd.sock'))}\n[log]\nlevel = "debug"\n`;
  return `${head}${own}${api}${tables}`;
}

/** Whether the daemons can run in the guest. An image's own userland is not looked into. */
export const nodeInGuest = ({ target }: VmEnvironment): boolean =>
  target.kind === 'tree' && existsSync(join(target.root, 'usr', 'local', 'bin', 'node'));

/** Said at the start of each scenario with daemons, so that nobody takes one run for the other. The guest says what its `node` is. */
export const whereTheyRun = (
  scenario: string,
  environment: VmEnvironment,
  what: 'daemon' | 'guard and daemon' = 'guard and daemon',
): string =>
  nodeInGuest(environment)
    ? `# ${scenario}: usr/local/bin/node is in the guest: ${what} there, natively`
    : `# ${scenario}: no Node.js in the guest: ${what} on the host, agents in the guest are the kernel (this is not the native run)`;

/** For the native run: the package with its addon is in the stage already; here, a folder for each daemon. */
export function stageConfigs(directory: string, scenario: string, site: DaemonsSite): void {
  for (const [name, { agent, configs, gid }] of Object.entries(site.daemons)) {
    if (agent === undefined) continue;
    const to = join(directory, 'native', scenario, name);
    mkdirSync(to, { recursive: true });
    const [first = ''] = Object.keys(configs);
    for (const [variant, text] of Object.entries(configs))
      writeFileSync(join(to, `${variant}.toml`), completeConfig(text, join('/var/native', name)));
    copyFileSync(join(to, `${first}.toml`), join(to, 'amptcpd.toml'));
    writeFileSync(join(to, 'jail'), `${agent.jail}\n`);
    writeFileSync(join(to, 'group'), `${gid ?? 0}\n`);
  }
}

/** For the native run of the gateway's scenarios: what drives the daemon is put beside its package. */
export function stageDriver(project: string, directory: string, scenarios: string[]): void {
  const to = join(directory, 'native', 'package', 'usr', 'local', 'lib', 'amptcp', 'dist', 'test', 'vm');
  mkdirSync(to, { recursive: true });
  for (const name of ['gateway-native', 'gateway-daemon', 'in-process'])
    copyFileSync(join(project, 'dist', 'test', 'vm', `${name}.js`), join(to, `${name}.js`));
  for (const scenario of scenarios) {
    mkdirSync(join(directory, 'native', scenario), { recursive: true });
    writeFileSync(join(directory, 'native', scenario, 'driver'), '');
  }
}
