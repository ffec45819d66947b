// SPDX-License-Identifier: BSD-2-Clause

/** What is run, one boot each: guest/<name>.sh, on which kernel and with what from the host. */
import type { Tools, VmEnvironment } from './environment.js';
import type { Stage } from './image.js';
import { chainHost } from './chain.js';
import { controlHost } from './control.js';
import { dataCentreHost } from './data-centre.js';
import { gatewayHost } from './gateway.js';
import { guardHost } from './guard.js';
import { interopHost } from './interop.js';
import { mptcpHost, mptcpHostileHost, mptcpMiddleboxHost, mptcpPairHost, mptcpPassiveHost } from './mptcp.js';
import { siteHost } from './site.js';

export interface ScenarioContext {
  project: string;
  environment: VmEnvironment;
  tools: Tools;
  stage: Stage;
  /** The emulated network interface: on a PC's PCI bus, or without one. */
  nic: 'virtio-net-pci' | 'virtio-net-device';
}

/** The host's side of a scenario that needs one: a peer on the emulated network. */
export interface HostSide {
  /** What the emulator is started by: `ip netns exec <name>`. */
  prefix: string[];
  devices: string[];
  /** Answers a line 'HOST <words>' of the guest's with one line. */
  request(words: string): Promise<string>;
  close(): Promise<void>;
}

export interface Scenario {
  name: string;
  title: string;
  /** On the kernel with INVARIANTS and WITNESS, or on the one without. */
  debug: boolean;
  timeoutMs: number;
  memoryMb?: number;
  cpus?: number;
  icount?: number;
  waits?: boolean;
  kenv?: Record<string, string>;
  host?(context: ScenarioContext): Promise<HostSide | { skip: string }>;
}

/** Two emulated processors keep time only when told that their cycle counters agree. */
const TWO_CPUS = {
  cpus: 2,
  kenv: { 'kern.timecounter.smp_tsc': '1', 'kern.timecounter.invariant_tsc': '1' },
};

/**
 * One processor of a thousand million instructions a second, whatever the host is doing meanwhile: what the guest measures
 * is its own doing, and waiting takes no time.
 */
const COUNTED = { icount: 0 };

export const scenarios: Scenario[] = [
  {
    name: 'functional',
    title: 'ping and TCP through lisp0 in jails, pins, weights, gleaning, misses, header fields',
    debug: true,
    timeoutMs: 1_800_000,
    ...COUNTED,
  },
  {
    name: 'mtu',
    title: 'a path whose MTU falls in mid-transfer',
    debug: true,
    timeoutMs: 1_800_000,
    ...COUNTED,
  },
  {
    name: 'interop',
    title: "against this product's data plane for Linux",
    debug: true,
    timeoutMs: 1_800_000,
    host: interopHost,
  },
  {
    name: 'fuzz',
    title: 'ioctls and packets nobody should send',
    debug: true,
    timeoutMs: 1_800_000,
    ...TWO_CPUS,
  },
  { name: 'scale', title: '100,000 mappings', debug: true, timeoutMs: 1_800_000, memoryMb: 2048, ...COUNTED },
  {
    name: 'cost',
    title: 'instructions a packet, forwarded and encapsulated',
    debug: false,
    timeoutMs: 1_800_000,
    ...COUNTED,
  },
  {
    name: 'reload',
    title: 'load and unload, idle and under traffic',
    debug: true,
    timeoutMs: 1_800_000,
    ...TWO_CPUS,
  },
  {
    name: 'kernel',
    title: 'a module refuses a kernel it was not built for',
    debug: true,
    timeoutMs: 600_000,
    ...COUNTED,
  },
  {
    name: 'tproxy',
    title: 'pf divert-to and tproxy: proxied, bypassed, refused, unreachable, held, late, 10,000 flows',
    debug: true,
    timeoutMs: 1_800_000,
    ...COUNTED,
  },
  {
    name: 'tproxy-fuzz',
    title: 'tproxy: ioctls nobody should send; load, unload and kill under traffic',
    debug: true,
    timeoutMs: 1_800_000,
    ...TWO_CPUS,
  },
  {
    name: 'gateway',
    title:
      "the daemon: a client's SYN through divert, decision, tproxy and lisp to a server; bypass, refusal, unreachable",
    debug: true,
    timeoutMs: 1_800_000,
    host: gatewayHost,
  },
  {
    name: 'client-source',
    title:
      "the daemon with source = 'client': the server sees the client's own address; refusal, kill, what is left",
    debug: true,
    timeoutMs: 1_800_000,
    host: gatewayHost,
  },
  {
    name: 'guard',
    title:
      'guard and daemon as processes: descriptors handed over, the daemon killed, the guard ended and killed',
    debug: true,
    timeoutMs: 1_800_000,
    host: guardHost,
  },
  {
    name: 'control',
    title: 'LISP control: map-server, xTR and gateway as processes; Map-Request, probes, SMR in mid-transfer',
    debug: true,
    timeoutMs: 1_800_000,
    host: controlHost,
  },
  {
    name: 'rc',
    title:
      'the service: rc.d/amptcpd under rc.subr, daemon(8), sysrc, newsyslog; what is said on a bad configuration',
    debug: true,
    timeoutMs: 900_000,
    ...COUNTED,
  },
  {
    name: 'client-mptcp',
    title: "source = 'client' with mptcp(4) and a Linux server: subflows from the client's own address",
    debug: true,
    timeoutMs: 900_000,
    host: chainHost,
  },
  {
    name: 'site',
    title:
      'amptcpd as xTR of a data centre, registered with a map-server, and a Linux gateway: MPTCP both ways, each subflow by its path; a provider lost, a daemon killed',
    debug: true,
    timeoutMs: 1_800_000,
    host: siteHost,
  },
  {
    name: 'mptcp',
    title: 'MPTCP with one subflow to a Linux server: keys, mappings, ends, fallback, loss',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpHost,
  },
  {
    name: 'mptcp-subflows',
    title: 'MPTCP with up to four subflows to a Linux server: joins, two shaped paths, one cut and back',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpHost,
  },
  {
    name: 'mptcp-loss',
    title:
      'MPTCP with two subflows over bad paths: loss, reordering, a path that stands still, a smaller MTU',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpHost,
  },
  {
    name: 'mptcp-user',
    title: 'mptcp: the device, switches, jails, ordinary programs',
    debug: true,
    timeoutMs: 1_200_000,
    host: mptcpHost,
  },
  {
    name: 'mptcp-cycles',
    title: 'mptcp: 10,000 connections closed and 10,000 aborted leave nothing behind',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpHost,
  },
  {
    name: 'mptcp-speed',
    title: 'mptcp: one subflow against plain TCP',
    debug: false,
    timeoutMs: 1_200_000,
    ...COUNTED,
    waits: true,
    host: mptcpHost,
  },
  {
    name: 'chain',
    title:
      'the whole chain: client, pf, tproxy, mptcp with two subflows, lisp with two RLOCs, shaped paths, a Linux server',
    debug: true,
    timeoutMs: 1_800_000,
    kenv: { 'net.inet.ip.fw.default_to_accept': '1' },
    host: chainHost,
  },
  {
    name: 'data-centre',
    title:
      'role data-centre: Linux clients with MPTCP and without, servers with TCP; further subflows, refused, unreachable, bypassed, daemon killed',
    debug: true,
    timeoutMs: 900_000,
    host: dataCentreHost,
  },
  {
    name: 'data-centre-lisp',
    title:
      'the whole of it: a Linux client and gateway, two RLOCs each way, role data-centre on FreeBSD, servers without MPTCP; a provider lost, the daemon killed',
    debug: true,
    timeoutMs: 1_800_000,
    host: siteHost,
  },
  {
    name: 'mptcp-passive',
    title: 'MPTCP servers: Linux clients with one to four subflows, joins, plain TCP, SYN cookies',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpPassiveHost,
  },
  {
    name: 'mptcp-pair',
    title: 'MPTCP between two network stacks of FreeBSD: one to four subflows, IPv4, IPv6, both',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpPairHost,
    ...TWO_CPUS,
  },
  {
    name: 'mptcp-middlebox',
    title: 'MPTCP through boxes that take options out and alter data, both ways',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpMiddleboxHost,
  },
  {
    name: 'mptcp-inject',
    title: 'random options and segments in live MPTCP connections',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpMiddleboxHost,
  },
  {
    name: 'mptcp-hostile',
    title:
      'MPTCP with peers that keep to no rule: floods, half-open connections, data nobody wants; and connections without a subflow',
    debug: true,
    timeoutMs: 1_800_000,
    host: mptcpHostileHost,
  },
];
