// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of a scenario with a Linux end: a network namespace in which both QEMU and a program of ours live.
 *
 *   namespace:  program -- vm0 (tap) ==== vtnet0  :guest        and vm1, vm2, ... where there are `more`
 */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { HostSide } from './scenarios.js';

const tapName = (number: number): string => `vm${number}`;

export interface LinuxEnd {
  /** Of the tap; networks of 24 and 64 bits. */
  addresses: string[];
  /** Further taps, with their addresses. */
  more?: string[][];
  /** Of the loopback interface. */
  hosts?: string[];
  /** A file beside this one, and its argument. It prints 'ready', then answers each line on its standard input with one. */
  script: string;
  argument: string;
  /** What the emulator's network interface is connected to, when not to the tap itself. */
  netdev?: string;
}

export async function linuxEnd(end: LinuxEnd): Promise<HostSide | { skip: string }> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return { skip: 'the Linux end needs root on Linux' };
  }
  const taps = [end.addresses, ...(end.more ?? [])];
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
    for (const [number, addresses] of taps.entries()) {
      inside('ip', 'tuntap', 'add', tapName(number), 'mode', 'tap');
      inside('ip', 'link', 'set', tapName(number), 'up');
      for (const address of addresses) {
        inside(
          'ip',
          'addr',
          'add',
          `${address}/${address.includes(':') ? 64 : 24}`,
          'dev',
          tapName(number),
          ...(address.includes(':') ? ['nodad'] : []),
        );
      }
    }
    for (const host of end.hosts ?? []) {
      inside('ip', 'addr', 'add', host, 'dev', 'lo', ...(host.includes(':') ? ['nodad'] : []));
    }
    const script = join(fileURLToPath(new URL('.', import.meta.url)), end.script);
    const peer = spawn('ip', ['netns', 'exec', namespace, process.execPath, script, end.argument], {
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
      return { skip: `the Linux end does not start: ${first}` };
    }
    return {
      prefix: ['ip', 'netns', 'exec', namespace],
      devices: taps.flatMap((_, n) => [
        ...[
          '-netdev',
          (n === 0 && end.netdev) || `tap,id=net${n},ifname=${tapName(n)},script=no,downscript=no`,
        ],
        ...['-device', `virtio-net-device,netdev=net${n},mac=02:00:00:00:01:0${n + 1}`],
      ]),
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
