// SPDX-License-Identifier: BSD-2-Clause
/*
 * The data plane's test network, in namespaces that nobody else has:
 *
 *       EID 10.10.0.2               p1  (203.0.113.0/24 - 203.0.123.0/24)              EID 198.18.1.10
 *           fd10::2   [a] lisp0 ==<                                      >== lisp0 [b]     fd18::10
 *                                   p2  (203.0.114.0/24 - 203.0.124.0/24)
 *
 * p1 and p2 are routers, so that path MTU, ECN marks and loss can be made there. IPv6 RLOCs are fd00:a1::2 and so on.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Mapping } from '../../src/lisp/mapping.js';
import type { PlaneEvent, PlaneOptions } from '../../src/platform/platform.js';
import type { Calls, PlaneKind } from './plane-agent.js';

const agentProgram = fileURLToPath(new URL('./plane-agent.js', import.meta.url));

export type Family = 4 | 6;
export type Site = 'a' | 'b';

export const EID = { a: { 4: '10.10.0.2', 6: 'fd10::2' }, b: { 4: '198.18.1.10', 6: 'fd18::10' } } as const;
export const EIDS = {
  a: { 4: '10.10.0.0/24', 6: 'fd10::/64' },
  b: { 4: '198.18.0.0/16', 6: 'fd18::/64' },
} as const;

export const rloc = (site: Site, provider: 1 | 2, family: Family): string =>
  family === 4 ? `203.0.1${(site === 'a' ? 12 : 22) + provider}.2` : `fd00:${site}${provider}::2`;
const gateway = (site: Site, provider: 1 | 2, family: Family): string =>
  rloc(site, provider, family).replace(/2$/, '1');

export const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
export const inside = (ns: string, ...args: string[]): string => ip('netns', 'exec', ns, ...args);

/** Waits for a condition, never for a time. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function buildNetwork(): void {
  execFileSync('mkdir', ['-p', '/run/netns']);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run/netns']);
  for (const ns of ['a', 'b', 'p1', 'p2']) {
    ip('netns', 'add', ns);
    ip('-n', ns, 'link', 'set', 'lo', 'up');
    for (const setting of [
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
      // Link-local duplicate detection holds the first packets of a fresh link back.
      'net.ipv6.conf.all.accept_dad=0',
      'net.ipv6.conf.default.accept_dad=0',
    ])
      inside(ns, 'sysctl', '-qw', setting);
  }
  for (const provider of [1, 2] as const)
    for (const site of ['a', 'b'] as const) {
      const [near, far] = [`up${provider}`, `to_${site}`];
      ip('link', 'add', near, 'netns', site, 'type', 'veth', 'peer', 'name', far, 'netns', `p${provider}`);
      for (const family of [4, 6] as const) {
        const bits = family === 4 ? '/24' : '/64';
        const quick = family === 6 ? ['nodad'] : [];
        ip('-n', site, 'addr', 'add', rloc(site, provider, family) + bits, 'dev', near, ...quick);
        ip('-n', `p${provider}`, 'addr', 'add', gateway(site, provider, family) + bits, 'dev', far, ...quick);
      }
      ip('-n', site, 'link', 'set', near, 'up');
      ip('-n', `p${provider}`, 'link', 'set', far, 'up');
    }
  for (const site of ['a', 'b'] as const)
    for (const family of [4, 6] as const)
      ip('-n', site, 'addr', 'add', EID[site][family] + (family === 4 ? '/32' : '/128'), 'dev', 'lo');
}

type Result<Call extends keyof Calls> = Awaited<ReturnType<Calls[Call]>>;

/** One host of the network, in a process of its own. */
export class Agent {
  readonly events: PlaneEvent[] = [];
  readonly process: ChildProcess;
  readonly #waiting = new Map<number, { resolve(result: never): void; reject(error: Error): void }>();
  #next = 1;
  #ready = false;
  #gone = false;

  constructor(readonly name: string) {
    this.process = spawn('ip', ['netns', 'exec', name, process.execPath, agentProgram, 'agent'], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: {
        ...process.env,
        ...(process.env['AMPTCP_PLANE_PRELOAD'] ? { LD_PRELOAD: process.env['AMPTCP_PLANE_PRELOAD'] } : {}),
      },
    });
    this.process.on(
      'message',
      (message: { id?: number; result?: never; error?: string; event?: PlaneEvent }) => {
        if (message.event) this.events.push(message.event);
        else if (message.id === undefined) this.#ready = true;
        else {
          const waiting = this.#waiting.get(message.id);
          this.#waiting.delete(message.id);
          if (message.error === undefined) waiting?.resolve(message.result!);
          else waiting?.reject(new Error(`${this.name}: ${message.error}`));
        }
      },
    );
    this.process.on('exit', (code, signal) => {
      this.#gone = true;
      for (const { reject } of this.#waiting.values())
        reject(new Error(`${name} has ended: ${String(code)} ${String(signal)}`));
    });
  }

  async ready(): Promise<this> {
    await until(`${this.name} to be ready`, () => this.#ready || this.#gone);
    return this;
  }

  call<Call extends keyof Calls>(call: Call, ...args: Parameters<Calls[Call]>): Promise<Result<Call>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.process.send({ id, call, args });
    });
  }

  end(): void {
    this.process.disconnect();
  }
}

export interface World {
  a: Agent;
  b: Agent;
  options: { a: PlaneOptions; b: PlaneOptions };
}

export const optionsOf = (site: Site, family: Family | 'both'): PlaneOptions => {
  const other = site === 'a' ? 'b' : 'a';
  const families = family === 'both' ? ([4, 6] as const) : [family];
  return {
    device: 'lisp0',
    iid: 0,
    localRlocs: families.flatMap((one) => [rloc(site, 1, one), rloc(site, 2, one)]),
    localEids: [EIDS[site][4], EIDS[site][6]],
    routes: [EIDS[other][4], EIDS[other][6]],
    sourceCheck: true,
    glean: true,
  };
};

export const mappingOf = (
  site: Site,
  eid: Family,
  family: Family,
  change: Partial<Mapping> = {},
): Mapping => ({
  iid: 0,
  eid: EIDS[site][eid],
  locators: ([1, 2] as const).map((provider) => ({
    rloc: rloc(site, provider, family),
    priority: 1,
    weight: 50,
    reachable: true,
  })),
  action: 'no-action',
  ttlSeconds: 900,
  source: 'static',
  ...change,
});

/** Both sites up, mappings of both EID families towards RLOCs of `family`. */
export async function buildWorld(kind: PlaneKind, family: Family, mappings = true): Promise<World> {
  buildNetwork();
  const [a, b] = await Promise.all([new Agent('a').ready(), new Agent('b').ready()]);
  const options = { a: optionsOf('a', family), b: optionsOf('b', family) };
  for (const [site, agent] of [
    ['a', a],
    ['b', b],
  ] as const)
    await agent.call(
      'startPlane',
      kind,
      options[site],
      ([1, 2] as const).flatMap((provider) =>
        ([4, 6] as const).map((one) => ({
          address: rloc(site, provider, one),
          gateway: gateway(site, provider, one),
        })),
      ),
      [],
    );
  if (mappings)
    for (const eid of [4, 6] as const) {
      await a.call('setMapping', mappingOf('b', eid, family));
      await b.call('setMapping', mappingOf('a', eid, family));
    }
  for (const eid of [4, 6] as const) {
    await b.call('listen', EID.b[eid], 5000);
    await b.call('echo', EID.b[eid], 5001);
  }
  return { a, b, options };
}
