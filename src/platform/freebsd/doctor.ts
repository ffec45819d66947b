// SPDX-License-Identifier: BSD-2-Clause

/** `amptcp doctor` on FreeBSD: what the gateway needs of this host, what is there, and what to type where it is not. */
import { access, constants, readFile } from 'node:fs/promises';
import { loadNative } from '../../native/index.js';
import type { Finding } from '../platform.js';
import { hasAnchor } from './host.js';
import { runCommand } from './lisp-device.js';
import { ANCHOR } from './pf-rules.js';

/** How the outside is looked at; injected so that the findings can be tested. */
export interface DoctorView {
  /** Standard output of a command; undefined when it fails or may not be run. */
  run(command: string, args: string[]): Promise<string | undefined>;
  read(path: string): Promise<string | undefined>;
  exists(path: string): Promise<boolean>;
  addon(): string | undefined;
  root: boolean;
}

export const hostView: DoctorView = {
  run: (command, args) => runCommand(command, args).catch(() => undefined),
  read: (path) => readFile(path, 'utf8').catch(() => undefined),
  exists: (path) =>
    access(path, constants.F_OK).then(
      () => true,
      () => false,
    ),
  addon() {
    try {
      loadNative();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  },
  root: process.getuid?.() === 0,
};

const MODULES = [
  { name: 'pf', file: 'pf.ko', what: 'interception', built: 'the base system' },
  { name: 'ipdivert', file: 'ipdivert.ko', what: 'interception of IPv4', built: 'the base system' },
  { name: 'tproxy', file: 'tproxy.ko', what: 'transparent accept', built: 'the amptcp-kmod package' },
  { name: 'lisp', file: 'lisp.ko', what: 'the LISP data plane', built: 'the amptcp-kmod package' },
  {
    name: 'mptcp',
    file: 'mptcp.ko',
    what: 'more than one path for a connection',
    built: 'the amptcp-kmod package',
  },
] as const;

export async function doctor(view: DoctorView = hostView): Promise<Finding[]> {
  const findings: Finding[] = [];
  const add = (name: string, ok: boolean, detail: string, remedy?: string): unknown =>
    findings.push({ name, ok, detail, ...(ok || remedy === undefined ? {} : { remedy }) });
  const sysctl = async (name: string): Promise<string | undefined> =>
    (await view.run('/sbin/sysctl', ['-n', name]))?.trim();

  const addon = view.addon();
  add('native addon', addon === undefined, addon ?? 'loads', 'pkg install -f amptcp');

  const loaded = (await view.run('/sbin/kldstat', [])) ?? '';
  for (const { name, file, what, built } of MODULES) {
    const there =
      loaded.includes(` ${file}`) ||
      (await view.exists(`/boot/kernel/${file}`)) ||
      (await view.exists(`/boot/modules/${file}`));
    add(
      `${name}(4)`,
      there,
      loaded.includes(` ${file}`)
        ? 'loaded'
        : there
          ? 'installed; amptcpd loads it'
          : `not found; needed for ${what}`,
      built.startsWith('the base') ? `it is part of ${built}` : 'pkg install amptcp-kmod',
    );
  }

  if (!view.root) {
    add('pf rules', false, 'only root may look at them', 'run amptcp doctor as root');
  } else {
    const info = await view.run('/sbin/pfctl', ['-s', 'info']);
    const enabled = /Status: Enabled/.test(info ?? '');
    add(
      'pf',
      enabled,
      enabled ? 'enabled' : 'not enabled: no connection would be taken',
      'sysrc pf_enable=YES && service pf start',
    );
    const rules = (await view.run('/sbin/pfctl', ['-s', 'rules'])) ?? '';
    const inFile = hasAnchor((await view.read('/etc/pf.conf')) ?? '');
    add(
      'pf anchor',
      hasAnchor(rules),
      hasAnchor(rules)
        ? `pf evaluates anchor "${ANCHOR}"`
        : inFile
          ? `/etc/pf.conf has anchor "${ANCHOR}", but it is not loaded`
          : `/etc/pf.conf has no anchor "${ANCHOR}"`,
      inFile
        ? 'service pf reload'
        : `add the line 'anchor "${ANCHOR}"' to /etc/pf.conf, then: service pf reload`,
    );
    const cookies = /syncookies\s+(\w+)/i.exec(
      (await view.run('/sbin/pfctl', ['-s', 'Running'])) ?? info ?? '',
    )?.[1];
    add(
      'pf syncookies',
      cookies !== 'always',
      cookies === undefined ? 'never, the default' : cookies,
      'remove "set syncookies" from /etc/pf.conf: pf would answer the clients itself',
    );
  }

  for (const [name, family, variable] of [
    ['net.inet.ip.forwarding', 'IPv4', 'gateway_enable'],
    ['net.inet6.ip6.forwarding', 'IPv6', 'ipv6_gateway_enable'],
  ] as const) {
    const value = await sysctl(name);
    add(
      `${family} forwarding`,
      value === '1',
      value === '1' ? 'on' : 'off: what is not proxied would not pass',
      `sysrc ${variable}=YES && sysctl ${name}=1`,
    );
  }

  const zero = await sysctl('net.inet6.udp6.rfc6935_port');
  add(
    'LISP over IPv6',
    zero === '4341',
    zero === '4341'
      ? 'zero UDP checksums are accepted on port 4341'
      : 'packets of peers that leave out the UDP checksum (RFC 9300 section 5.3) would be dropped',
    'sysctl net.inet6.udp6.rfc6935_port=4341 (and in /etc/sysctl.conf)',
  );

  const files = Number((await sysctl('kern.maxfilesperproc')) ?? '0');
  add(
    'open files',
    files >= 20_000,
    `kern.maxfilesperproc ${files}: about ${Math.max(0, Math.floor((files - 200) / 2)).toLocaleString('en')} connections at once`,
    'sysctl kern.maxfiles=400000 kern.maxfilesperproc=200000 (and in /etc/sysctl.conf)',
  );
  const backlog = Number((await sysctl('kern.ipc.soacceptqueue')) ?? '0');
  add(
    'listen backlog',
    backlog >= 1024,
    `kern.ipc.soacceptqueue is ${backlog}`,
    'sysctl kern.ipc.soacceptqueue=4096',
  );
  return findings;
}
