// SPDX-License-Identifier: BSD-2-Clause

/** What this host has and lacks for the gateway. Reads only; needs no privilege. */
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { loadNative } from '../../native/index.js';
import type { Finding } from '../platform.js';

/** How the outside is looked at; injected so that the findings can be tested. */
export interface DoctorView {
  /** Content of a file, trimmed; undefined when there is none. */
  read(path: string): Promise<string | undefined>;
  /** Readable and writable. */
  usable(path: string): Promise<boolean>;
  /** Full path of a program. */
  find(program: string): Promise<string | undefined>;
  addon(): string | undefined;
  kernel: string;
}

const PLACES = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'].filter(
  (place) => place.startsWith('/'),
);

export const hostView: DoctorView = {
  read: (path) =>
    readFile(path, 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    ),
  usable: (path) =>
    access(path, constants.R_OK | constants.W_OK).then(
      () => true,
      () => false,
    ),
  async find(program) {
    for (const place of PLACES) {
      const path = `${place}/${program}`;
      if (
        await access(path, constants.X_OK).then(
          () => true,
          () => false,
        )
      )
        return path;
    }
    return undefined;
  },
  addon() {
    try {
      loadNative();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  },
  kernel: release(),
};

const CAP_NET_ADMIN = 12n;
const CAP_NET_RAW = 13n;

export async function doctor(view: DoctorView = hostView): Promise<Finding[]> {
  const findings: Finding[] = [];
  const add = (name: string, ok: boolean, detail: string, remedy?: string): unknown =>
    findings.push({ name, ok, detail, ...(ok || remedy === undefined ? {} : { remedy }) });
  const sysctl = (name: string): Promise<string | undefined> =>
    view.read(`/proc/sys/${name.replaceAll('.', '/')}`);

  const addon = view.addon();
  add('native addon', addon === undefined, addon ?? 'loads', 'npm run build (needs g++ and make)');

  const mptcp = await sysctl('net.mptcp.enabled');
  add(
    'kernel MPTCP',
    mptcp === '1',
    mptcp === undefined
      ? `Linux ${view.kernel} has none`
      : mptcp === '1'
        ? `Linux ${view.kernel}, enabled`
        : 'disabled',
    mptcp === undefined
      ? 'a kernel of 5.19 or newer with CONFIG_MPTCP (Debian 12 and newer have it)'
      : 'sysctl -w net.mptcp.enabled=1',
  );
  const manager = (await sysctl('net.mptcp.path_manager')) ?? (await sysctl('net.mptcp.pm_type'));
  add(
    'MPTCP path manager',
    manager !== undefined,
    manager === undefined
      ? 'cannot be steered from user space'
      : `can be steered from user space (now: ${manager})`,
    'a kernel of 5.19 or newer; until then connections have one subflow',
  );

  for (const [program, what, packageName] of [
    ['nft', 'interception', 'nftables'],
    ['ip', 'rules, routes and devices', 'iproute2'],
    ['setpriv', 'dropping privileges (user = ... in the configuration)', 'util-linux'],
  ] as const) {
    const path = await view.find(program);
    add(
      program,
      path !== undefined,
      path ?? `not found; needed for ${what}`,
      `apt-get install ${packageName}`,
    );
  }

  const status = await view.read('/proc/self/status');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1] ?? '0'}`);
  const has = (capability: bigint): boolean => ((effective >> capability) & 1n) === 1n;
  const missing = [
    ...(has(CAP_NET_ADMIN) ? [] : ['CAP_NET_ADMIN']),
    ...(has(CAP_NET_RAW) ? [] : ['CAP_NET_RAW']),
  ];
  add(
    'privilege',
    missing.length === 0,
    missing.length === 0
      ? 'may change rules, routes and devices'
      : `this user lacks ${missing.join(' and ')}`,
    'start amptcpd as root; with user = "amptcp" it keeps only what it needs',
  );

  const tun = await view.usable('/dev/net/tun');
  add(
    'TUN device',
    tun,
    tun
      ? '/dev/net/tun can be opened'
      : (await view.read('/proc/misc'))?.includes('tun')
        ? '/dev/net/tun cannot be opened by this user'
        : 'there is no /dev/net/tun',
    'modprobe tun; as root, or chmod 666 /dev/net/tun',
  );

  for (const [name, family] of [
    ['net.ipv4.ip_forward', 'IPv4'],
    ['net.ipv6.conf.all.forwarding', 'IPv6'],
  ] as const) {
    const value = await sysctl(name);
    if (value === undefined)
      add(
        `${family} forwarding`,
        false,
        `this kernel has no ${family}`,
        `nothing, unless you need ${family}`,
      );
    else
      add(
        `${family} forwarding`,
        value !== '0',
        value === '0' ? 'off: what is not proxied would not pass' : 'on',
        `sysctl -w ${name}=1`,
      );
  }

  const filter = (await sysctl('net.ipv4.conf.all.rp_filter')) ?? '0';
  add(
    'reverse path filter',
    filter !== '1',
    filter === '1'
      ? 'strict on every interface: drops what comes back on another path'
      : filter === '2'
        ? 'loose'
        : 'off',
    'sysctl -w net.ipv4.conf.all.rp_filter=2',
  );

  const limits = await view.read('/proc/self/limits');
  const hard = /^Max open files\s+\d+\s+(\d+|unlimited)/m.exec(limits ?? '')?.[1] ?? '0';
  const files = hard === 'unlimited' ? Infinity : Number(hard);
  add(
    'open files',
    files >= 20_000,
    `hard limit ${hard}: ${files === Infinity ? 'as many connections as memory allows' : `about ${Math.max(0, Math.floor((files - 200) / 2)).toLocaleString('en')} connections at once`}`,
    'raise it: LimitNOFILE=1048576 in the service, or ulimit -Hn',
  );

  const backlog = Number((await sysctl('net.core.somaxconn')) ?? '0');
  add(
    'listen backlog',
    backlog >= 1024,
    `net.core.somaxconn is ${backlog}`,
    'sysctl -w net.core.somaxconn=4096',
  );

  const controls = (await sysctl('net.ipv4.tcp_available_congestion_control')) ?? '';
  add(
    'congestion control',
    controls === '' || controls.split(' ').includes('cubic'),
    controls === '' ? 'not told' : `available: ${controls}`,
    'modprobe tcp_cubic',
  );

  const ports = (await sysctl('net.ipv4.ip_local_port_range')) ?? '';
  const [from = 0, to = 0] = ports.split(/\s+/).map(Number);
  add(
    'ephemeral ports',
    to - from >= 20_000,
    `${from} to ${to}; from its EIDs (intercept.nat) the gateway uses 10240 to 65535, so a wider prefix sustains more new connections a second`,
    'sysctl -w net.ipv4.ip_local_port_range="10240 65535"',
  );
  return findings;
}
