// SPDX-License-Identifier: BSD-2-Clause

/**
 * What is compared, each in a lab of its own that stands for the whole measurement, so that runs can be interleaved:
 *
 *   nat         client - gateway (masquerade) ------------------ provider 1 - dc1 - server
 *   proxy       client - gateway (TCP to TCP) ------------------ provider 1 - dc1 - server
 *   mptcp       client - gateway (TCP to MPTCP, one path) ------ provider 1 - dc1 - server (MPTCP)
 *   lisp...     client - gateway (xTR) =========== providers 1, 2 ========== dc1 (xTR) - server
 *   full...     client - gateway (TCP to MPTCP, two RLOCs, xTR) = 1, 2 ===== dc1 (xTR) - server (MPTCP)
 *   hop...      client - gateway: one hop, the parts of the ceiling L
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { finished, waitFor } from '../../src/lab/process.js';
import { Lab } from '../../src/lab/lab.js';
import { PORTS } from '../../src/lab/configs.js';
import { INSIDE, addresses, provider, uplink } from '../../src/lab/topology.js';
import type { PlaneSite } from './plane-host.js';
import type { ProxyTask } from './proxy-host.js';

export const MODES = ['nat', 'proxy', 'mptcp', 'lispKernel', 'lispUser', 'fullKernel', 'fullUser'] as const;
export type ModeName = (typeof MODES)[number];
export const HOPS = ['tcp', 'mptcp-hop'] as const;
export type HopName = (typeof HOPS)[number];

export type Direction = 'up' | 'down';

export interface Measured {
  gbps: number;
  /** Busy time of all processors while it ran, per 10^9 octets. */
  cpuSecondsPerGigabyte: number;
}

const FAMILY = 4;
const program = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

export interface Setting {
  lab: Lab;
  /** iperf3 from the client. */
  address: string;
  port: number;
  clientEnvironment: NodeJS.ProcessEnv;
}

async function host(lab: Lab, name: string, log: string, file: string, task: unknown): Promise<void> {
  const child = lab.spawn(name, log, [process.execPath, program(file), JSON.stringify(task)], {
    piped: true,
  });
  let printed = '';
  let ended = false;
  child.stdout!.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  void finished(child).then(
    () => (ended = true),
    () => (ended = true),
  );
  await waitFor(`${file} in ${name}`, () => {
    if (ended) throw new Error(lab.log(name, log));
    return printed.includes('ready');
  });
}

const rloc = (site: 0 | 1 | 2, index: number): string => addresses.rloc(FAMILY, site, index);

async function lispSite(lab: Lab, name: 'gateway' | 'dc1', plane: 'user' | 'kernel'): Promise<void> {
  const [here, there] = name === 'gateway' ? ([0, 1] as const) : ([1, 0] as const);
  const own = name === 'gateway' ? addresses.clientPrefix(FAMILY) : addresses.serverPrefix(FAMILY);
  const far = name === 'gateway' ? addresses.serverPrefix(FAMILY) : addresses.clientPrefix(FAMILY);
  const site: PlaneSite = {
    plane,
    rlocs: [1, 2].map((index) => ({
      address: rloc(here, index),
      interface: uplink(index),
      gateway: addresses.rlocGateway(FAMILY, here, index),
    })),
    options: {
      device: 'lisp0',
      iid: 0,
      localRlocs: [rloc(here, 1), rloc(here, 2)],
      localEids: [own],
      routes: [far],
      sourceCheck: true,
      glean: true,
    },
    mappings: [{ eid: far, rlocs: [rloc(there, 1), rloc(there, 2)] }],
  };
  await host(lab, name, `plane-${plane}`, 'plane-host', site);
}

async function proxyHost(lab: Lab, multipath: boolean): Promise<void> {
  // The gateway's identity has to be found natively too, since there is no LISP here.
  await lab.run(provider(1), ['ip', 'route', 'replace', addresses.natPrefix(FAMILY), 'via', rloc(0, 1)]);
  const task: ProxyTask = {
    multipath,
    interfaces: [INSIDE],
    ports: [{ from: PORTS.iperf, to: PORTS.iperf }],
    prefix: addresses.natPrefix(FAMILY),
    ...(multipath && { congestionControl: 'cubic', notSentLowat: 262_144 }),
  };
  await host(lab, 'gateway', 'proxy', 'proxy-host', task);
}

export async function setUp(mode: ModeName): Promise<Setting> {
  const lab = await Lab.create({
    rlocs: 2,
    rateMbps: 0,
    family: FAMILY,
    name: `bench-${mode.toLowerCase()}-${process.pid}`,
  });
  try {
    const plane = mode.endsWith('Kernel') ? 'kernel' : 'user';
    switch (mode) {
      case 'nat':
        await lab.run('gateway', ['nft', '-f', '-'], {
          input: `table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "${uplink(1)}" masquerade; }
}
`,
        });
        break;
      case 'proxy':
      case 'mptcp':
        await proxyHost(lab, mode === 'mptcp');
        break;
      case 'lispKernel':
      case 'lispUser':
        await Promise.all([lispSite(lab, 'gateway', plane), lispSite(lab, 'dc1', plane)]);
        break;
      case 'fullKernel':
      case 'fullUser':
        await lab.startDaemons({
          extraKeys: Object.fromEntries(
            ['gateway', 'dc1', 'dc2'].map((name) => [`${name}:lisp`, `plane = "${plane}"`]),
          ),
        });
        break;
    }
    await lab.startIperf({ mptcp: mode === 'mptcp' || mode.startsWith('full') });
    await lab.listening('server', PORTS.iperf);
    return { lab, address: addresses.server(FAMILY), port: PORTS.iperf, clientEnvironment: {} };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** One hop, from client to gateway, both with the protocol. */
export async function setUpHops(): Promise<Record<HopName, Setting>> {
  const lab = await Lab.create({ rlocs: 2, rateMbps: 0, family: FAMILY, name: `bench-hop-${process.pid}` });
  try {
    const shim = await lab.mptcpEnvironment();
    const address = addresses.gatewayInside(FAMILY);
    lab.spawn('gateway', 'iperf-tcp', ['iperf3', '-s', '-p', '5201', '--forceflush']);
    lab.spawn('gateway', 'iperf-mptcp', ['iperf3', '-s', '-p', '5202', '--forceflush'], { env: shim });
    await lab.listening('gateway', 5201);
    await lab.listening('gateway', 5202);
    return {
      tcp: { lab, address, port: 5201, clientEnvironment: {} },
      'mptcp-hop': { lab, address, port: 5202, clientEnvironment: shim },
    };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

interface IperfResult {
  error?: string;
  end: { sum_received: { bits_per_second: number; bytes: number } };
}

export async function measure(
  setting: Setting,
  direction: Direction,
  streams: number,
  seconds: number,
): Promise<Measured> {
  const { lab, address, port } = setting;
  const before = busySeconds();
  const { stdout, stderr } = await lab.run(
    'client',
    [
      'iperf3', '-J', '-c', address, '-p', String(port), '-t', String(seconds), '-P', String(streams),
      // Everywhere the same: the default of some hosts, bbr, stalls with MPTCP on round trips of microseconds.
      '-C', 'cubic',
      '--connect-timeout', '5000', ...(direction === 'down' ? ['-R'] : []),
    ],
    { timeoutMs: (seconds + 30) * 1000, tolerant: true, env: setting.clientEnvironment },
  ); // prettier-ignore
  const busy = busySeconds() - before;
  const result = JSON.parse(stdout || '{}') as Partial<IperfResult>;
  if (result.error || !result.end?.sum_received)
    throw new Error(`iperf3 in ${lab.name}: ${result.error ?? (stderr || 'no result')}`);
  const { bits_per_second, bytes } = result.end.sum_received;
  return { gbps: bits_per_second / 1e9, cpuSecondsPerGigabyte: busy / (bytes / 1e9) };
}

/** All processors' time that was not idle, seconds. */
function busySeconds(): number {
  const fields = readFileSync('/proc/stat', 'latin1')
    .split('\n')[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) / 100;
}
