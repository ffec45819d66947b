// SPDX-License-Identifier: BSD-2-Clause

/**
 * One run of a FreeBSD kernel under QEMU. The guest's console is read line by line: lines of TAP are results, and
 * anything the kernel says about itself (a panic, a lock order reversal) ends the run as failed.
 *
 *   qemu -kernel (PVH) -> /etc/rc of the image -> guest/<scenario>.sh -> TAP on the serial line -> halt
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

/** What a kernel says when something is wrong with it; none of these may appear on the console. */
const COMPLAINTS = [
  /lock order reversal/i,
  /^panic:/i,
  /KDB: stack backtrace/,
  /KDB: enter/,
  /Fatal trap/,
  /witness_/,
  /^WARNING/,
  /Warning: memory type \S+ leaked/,
  /sleeping in an epoch|sleepq_add.*non-?sleepable|while holding/i,
  /Expensive callout/,
];

/** Complaints that stand on a console without any fault of ours. */
const HARMLESS = [
  /WARNING: .*TMPFS is considered/,
  /WARNING: WITNESS option enabled/,
  /WARNING: DIAGNOSTIC option enabled/,
  /WARNING: Device .* is Giant locked/,
  /WARNING: .*INVARIANTS/,
];

export interface BootOptions {
  qemu: string;
  /** Machine, kernel and disks. */
  args: string[];
  timeoutMs: number;
  /** Every console line, as it comes. */
  onLine(line: string): void;
  /** Called when the guest asks the host for something: a line 'HOST <words>'. */
  onRequest?(words: string, answer: (line: string) => void): void;
}

export interface BootResult {
  /** Lines the kernel should not have said. */
  complaints: string[];
  /** The guest said it had come to its end. */
  finished: boolean;
  timedOut: boolean;
  /** The last lines, for the report of a failure. */
  tail: string[];
}

const running = new Set<ChildProcess>();

/** Ends every emulator that is still running; for the harness's own end. */
export function killAll(): void {
  for (const child of running) {
    child.kill('SIGKILL');
  }
}

export function boot(options: BootOptions): Promise<BootResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(options.qemu, options.args, { stdio: ['pipe', 'pipe', 'pipe'] });
    running.add(child);
    const result: BootResult = { complaints: [], finished: false, timedOut: false, tail: [] };
    let rest = '';
    const answer = (line: string): void => {
      child.stdin.write(`${line}\n`);
    };
    const take = (line: string): void => {
      result.tail.push(line);
      if (result.tail.length > 40) {
        result.tail.shift();
      }
      if (COMPLAINTS.some((re) => re.test(line)) && !HARMLESS.some((re) => re.test(line))) {
        result.complaints.push(line);
      }
      if (line === 'VM-FINISHED') {
        result.finished = true;
        /* The image is read-only: there is nothing to wait for but a last complaint. */
        setTimeout(() => child.kill('SIGKILL'), 500).unref();
      }
      const request = /^HOST (.*)$/.exec(line);
      if (request?.[1] !== undefined) {
        options.onRequest?.(request[1], answer);
      }
      options.onLine(line);
    };
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        take(line.replace(/\r/g, ''));
      }
    });
    let errors = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (chunk: string) => {
      errors += chunk;
    });
    child.stdin.on('error', () => undefined);
    const timer = setTimeout(() => {
      result.timedOut = true;
      child.kill('SIGKILL');
    }, options.timeoutMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      running.delete(child);
      reject(error);
    });
    child.on('close', () => {
      clearTimeout(timer);
      running.delete(child);
      if (rest !== '') {
        take(rest.replace(/\r/g, ''));
      }
      if (errors.trim() !== '') {
        result.tail.push(...errors.trim().split('\n'));
      }
      resolve(result);
    });
  });
}

export interface MachineOptions {
  kernel: string;
  image: string;
  /** name=value pairs for the kernel's environment; neither may hold a blank or a comma. */
  kenv: Record<string, string>;
  memoryMb: number;
  cpus: number;
  /** Count instructions: the guest's clock advances with them and not with the host's. */
  icount?: number;
  /** Further devices, as arguments. */
  devices?: string[];
}

/** The arguments for a kernel booted by PVH on a `microvm`: no firmware tables, no PCI, seconds to single user. */
export function machine(options: MachineOptions): string[] {
  const kenv = { 'vfs.root.mountfrom': 'cd9660:/dev/vtbd0', boot_serial: 'YES', ...options.kenv };
  const args = [
    ...['-M', 'microvm,acpi=off,auto-kernel-cmdline=on,rtc=on,pic=on,pit=on,isa-serial=on'],
    ...['-cpu', 'max', '-m', String(options.memoryMb), '-smp', String(options.cpus)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', options.kernel],
    ...[
      '-append',
      Object.entries(kenv)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
    ],
    ...['-drive', `id=root,file=${options.image},format=raw,if=none,readonly=on`],
    ...['-device', 'virtio-blk-device,drive=root'],
    ...(options.devices ?? []),
  ];
  if (options.icount !== undefined) {
    args.push('-icount', `shift=${options.icount},sleep=off`);
  }
  return args;
}
