// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the interoperation scenario: a network namespace in which both QEMU and a Linux xTR live.
 *
 *   namespace:  lisp0 (TUN) -- linux-peer.js -- vm0 (tap) ==== vtnet0 -- lisp.ko -- lisp0   :guest
 */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { HostSide, ScenarioContext } from './scenarios.js';
import type { PeerSite } from './linux-peer.js';

const TAP = 'vm0';
const PORT = 5007;
const SITE: PeerSite = {
  options: {
    device: 'lisp0',
    iid: 0,
    localRlocs: ['203.0.113.2', '203.0.113.12', '2001:db8:f::2', '2001:db8:f::12'],
    localEids: ['198.18.2.0/24', '2001:db8:2::/64'],
    routes: ['198.18.1.0/24', '2001:db8:1::/64'],
    mtu: 1444,
    sourceCheck: true,
    glean: true,
  },
  peer: {
    eids: ['198.18.1.0/24', '2001:db8:1::/64'],
    rlocs: { 4: ['203.0.113.1', '203.0.113.11'], 6: ['2001:db8:f::1', '2001:db8:f::11'] },
  },
  hosts: { 4: '198.18.2.10', 6: '2001:db8:2::10' },
  port: PORT,
};

export async function interopHost({ nic }: ScenarioContext): Promise<HostSide | { skip: string }> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return { skip: 'the Linux end needs root on Linux' };
  }
  const namespace = `amptcp-vm-${process.pid}`;
  const ip = (...args: string[]): void => {
    execFileSync('ip', args, { stdio: 'pipe' });
  };
  const inside = (...args: string[]): void => {
    execFileSync('ip', ['netns', 'exec', namespace, ...args], { stdio: 'pipe' });
  };
  ip('netns', 'add', namespace);
  try {
    inside('ip', 'link', 'set', 'lo', 'up');
    inside('ip', 'tuntap', 'add', TAP, 'mode', 'tap');
    inside('ip', 'link', 'set', TAP, 'up');
    for (const rloc of SITE.options.localRlocs) {
      inside(
        'ip',
        'addr',
        'add',
        `${rloc}/${rloc.includes(':') ? 64 : 24}`,
        'dev',
        TAP,
        ...(rloc.includes(':') ? ['nodad'] : []),
      );
    }
    for (const host of Object.values(SITE.hosts)) {
      inside('ip', 'addr', 'add', host, 'dev', 'lo', ...(host.includes(':') ? ['nodad'] : []));
    }
    const script = join(fileURLToPath(new URL('.', import.meta.url)), 'linux-peer.js');
    const peer = spawn('ip', ['netns', 'exec', namespace, process.execPath, script, JSON.stringify(SITE)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let errors = '';
    peer.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString('utf8');
    });
    const waiting: ((line: string) => void)[] = [];
    let gone = false;
    const closed = new Promise<void>((resolve) => {
      peer.on('close', () => {
        gone = true;
        for (const tell of waiting.splice(0)) tell(`failed the Linux end is gone: ${errors.trim()}`);
        resolve();
      });
    });
    createInterface({ input: peer.stdout }).on('line', (line) => waiting.shift()?.(line));
    const next = (): Promise<string> =>
      gone
        ? Promise.resolve(`failed the Linux end is gone: ${errors.trim()}`)
        : new Promise((resolve) => waiting.push(resolve));
    const close = async (): Promise<void> => {
      peer.stdin.end();
      const timer = setTimeout(() => peer.kill('SIGKILL'), 5_000);
      await closed;
      clearTimeout(timer);
      ip('netns', 'delete', namespace);
    };
    const first = await next();
    if (first !== 'ready') {
      await close();
      return { skip: `the Linux data plane does not start: ${first}` };
    }
    return {
      prefix: ['ip', 'netns', 'exec', namespace],
      devices: [
        ...['-netdev', `tap,id=net0,ifname=${TAP},script=no,downscript=no`],
        ...['-device', `${nic},netdev=net0,mac=02:00:00:00:01:01`],
      ],
      request(words) {
        const answer = next();
        peer.stdin.write(`${words}\n`);
        return answer;
      },
      close,
    };
  } catch (error) {
    ip('netns', 'delete', namespace);
    throw error;
  }
}
