// SPDX-License-Identifier: BSD-2-Clause

/** What a lab needs of this host, and what is missing of it. */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Holder } from './holder.js';
import { LabError } from './process.js';

export interface Requirement {
  name: string;
  detail: string;
  remedy: string;
}

export function hasProgram(name: string): boolean {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Debian packages of the programs the lab runs. */
const PROGRAMS: [string, string][] = [
  ['unshare', 'util-linux'],
  ['nsenter', 'util-linux'],
  ['ip', 'iproute2'],
  ['tc', 'iproute2'],
  ['ss', 'iproute2'],
  ['nft', 'nftables'],
  ['curl', 'curl'],
  ['iperf3', 'iperf3'],
];

/**
 * @returns what is missing; nothing means that the lab can run here. The namespaces are tried out, since no setting tells
 * reliably (sysctl, LSM, seccomp and container runtime each have a say).
 */
export async function missing(): Promise<Requirement[]> {
  const found: Requirement[] = [];
  if (process.platform !== 'linux') {
    return [
      { name: 'Linux', detail: 'network namespaces exist on Linux only', remedy: 'run the lab on Linux' },
    ];
  }
  const packages = new Set(PROGRAMS.filter(([program]) => !hasProgram(program)).map(([, name]) => name));
  if (packages.size > 0) {
    const list = [...packages].join(' ');
    found.push({ name: 'programs', detail: `not installed: ${list}`, remedy: `apt-get install -y ${list}` });
  }
  if (!existsSync('/proc/sys/net/mptcp/enabled')) {
    found.push({
      name: 'MPTCP',
      detail: 'the kernel has no MPTCP',
      remedy: 'use a kernel with CONFIG_MPTCP (5.19 or newer)',
    });
  }
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    found.push({
      name: 'TUN',
      detail: existsSync('/dev/net/tun')
        ? '/dev/net/tun is not writable for this user'
        : 'there is no /dev/net/tun',
      remedy:
        'run as root, or as root: chmod 0666 /dev/net/tun (a container: --device /dev/net/tun --cap-add NET_ADMIN)',
    });
  }
  if (!packages.has('util-linux') && !packages.has('iproute2')) {
    const problem = await tryNamespaces();
    if (problem !== undefined) {
      found.push({
        name: 'namespaces',
        detail: problem,
        remedy:
          process.getuid?.() === 0
            ? 'allow namespaces (a container: --privileged, or --cap-add SYS_ADMIN with seccomp and AppArmor unconfined)'
            : 'run as root, or as root: sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 (those that exist)',
      });
    }
  }
  return found;
}

async function tryNamespaces(): Promise<string | undefined> {
  let holder: Holder | undefined;
  try {
    holder = await Holder.start({ standing: false });
    const trial = [
      'ip netns add a',
      'ip netns add b',
      'ip link add v netns a type veth peer name w netns b',
      'echo 1 > /proc/sys/net/ipv4/ip_forward',
    ];
    const result = await holder.run(undefined, ['sh', '-e'], {
      input: trial.join('\n'),
      tolerant: true,
      timeoutMs: 10_000,
    });
    return result.status === 0 ? undefined : `not usable: ${result.stderr.trim()}`;
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    return error.message;
  } finally {
    await holder?.destroy();
  }
}
