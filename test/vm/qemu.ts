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
  // What it says to whoever asks for more than one FIB.
  /WARNING: Adding ifaddrs to all fibs/,
];

export interface BootOptions {
  qemu: string;
  /** Machine, kernel and disks. */
  args: string[];
  timeoutMs: number;
  /** Every console line, as it comes. */
  onLine(line: string): void;
  /** Answers prompts: called with a line that is not ended yet, and with every whole one; what it returns is typed. null: no use going on. */
  onPrompt?(text: string): string | null | undefined;
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

/** A console line without what moves a terminal's cursor. */
// eslint-disable-next-line no-control-regex
const plain = (line: string): string => line.replace(/\x1b\[[0-9;?]*[A-Za-z]|\r/g, '');

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
    const prompted = (text: string): boolean => {
      const typed = options.onPrompt?.(text);
      if (typed === null) {
        child.kill('SIGKILL');
      } else if (typed !== undefined) {
        child.stdin.write(typed);
      }
      return typed !== undefined;
    };
    const take = (line: string): void => {
      prompted(line);
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
        take(plain(line));
      }
      if (rest !== '' && prompted(plain(rest))) {
        rest = '';
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
        take(plain(rest));
      }
      if (errors.trim() !== '') {
        result.tail.push(...errors.trim().split('\n'));
      }
      resolve(result);
    });
  });
}

interface Machine {
  image: string;
  /** Names and values for the kernel's environment; neither may hold a blank or a comma. */
  kenv: Record<string, string>;
  memoryMb: number;
  cpus: number;
  /** Count instructions: the guest's clock advances with them and not with the host's. */
  icount?: number;
  /** While the guest waits, its clock goes with the host's: whom it waits for is outside. */
  waits?: boolean;
  /** Further devices, as arguments. */
  devices?: string[];
}

export interface MachineOptions extends Machine {
  kernel: string;
}

const common = (options: Machine): string[] => [
  ...['-cpu', 'max', '-m', String(options.memoryMb), '-smp', String(options.cpus)],
  ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
  ...(options.devices ?? []),
  ...(options.icount === undefined
    ? []
    : ['-icount', `shift=${options.icount},sleep=${options.waits ? 'on' : 'off'}`]),
];

/** The arguments for a kernel booted by PVH on a `microvm`: no firmware tables, no PCI, seconds to single user. */
export function machine(options: MachineOptions): string[] {
  const kenv = { 'vfs.root.mountfrom': 'cd9660:/dev/vtbd0', boot_serial: 'YES', ...options.kenv };
  return [
    ...['-M', 'microvm,acpi=off,auto-kernel-cmdline=on,rtc=on,pic=on,pit=on,isa-serial=on'],
    ...common(options),
    ...['-kernel', options.kernel],
    ...[
      '-append',
      Object.entries(kenv)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
    ],
    ...['-drive', `id=root,file=${options.image},format=raw,if=none,readonly=on`],
    ...['-device', 'virtio-blk-device,drive=root'],
  ];
}

export interface DiskMachineOptions extends Machine {
  /** UEFI for QEMU. Its console is the serial line where there is no screen, and the loader and the kernel follow it. */
  firmware: string;
  /** A whole disk with a FreeBSD on it. What is written to it is forgotten. */
  disk: string;
  format: string;
}

/** The arguments for an official image: a PC with UEFI, PCI and ACPI; the tests are on a second disk. */
export function diskMachine(options: DiskMachineOptions): string[] {
  return [
    ...['-M', 'pc', ...common(options), '-bios', options.firmware],
    ...['-drive', `id=root,file=${options.disk},format=${options.format},if=none,snapshot=on`],
    ...['-device', 'virtio-blk-pci,drive=root,bootindex=0'],
    ...['-drive', `id=tests,file=${options.image},format=raw,if=none,readonly=on`],
    ...['-device', 'virtio-blk-pci,drive=tests'],
  ];
}

/**
 * Drives an image's console to the scenario: the loader is told to boot to single user on the serial line, or, where it does
 * not listen, root logs in. What it returned is typed.
 *
 *   loader's menu or countdown -> OK prompt -> boot -s -> shell -> the scenario
 *                              \-> login: -> root -------> shell
 */
export function imageConsole(
  scenario: string,
  kenv: Record<string, string>,
  say: (text: string) => void,
): (text: string) => string | null | undefined {
  const loader = [
    'set boot_serial=YES',
    ...Object.entries(kenv).map(([name, value]) => `set ${name}=${value}`),
    'boot -s',
  ];
  const start =
    'mount -uw /; mkdir -p /amptcp; mount -t cd9660 /dev/vtbd1 /amptcp; ' +
    `kenv amptcp.scenario=${scenario}; exec sh /amptcp/rc`;
  let state: 'loader' | 'prompt' | 'kernel' | 'login' | 'shell' | 'run' = 'loader';
  return (text) => {
    if (state === 'loader' && /hit \[?Enter\]?|Autoboot in/i.test(text)) {
      state = 'prompt';
      return '3';
    }
    if (state === 'prompt' && /^OK $/.test(text)) {
      const command = loader.shift();
      if (loader.length === 0) {
        state = 'kernel';
        say("at the loader's prompt: booting to single user");
      }
      return `${command ?? 'boot'}\r`;
    }
    if (state !== 'run' && /^Enter full pathname of shell/.test(text)) {
      state = 'shell';
      return '\r';
    }
    if (state !== 'shell' && state !== 'run' && /login: $/.test(text)) {
      state = 'login';
      say('at the login: as root, without a password');
      return 'root\r';
    }
    if (state === 'login' && /^Password:/.test(text)) {
      state = 'run';
      say("the image's root has a password: the tests need one without");
      return null;
    }
    if ((state === 'shell' || state === 'login') && /[#$%>] $/.test(text)) {
      state = 'run';
      return `${start}\r`;
    }
    return undefined;
  };
}
