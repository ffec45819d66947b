// SPDX-License-Identifier: BSD-2-Clause

/**
 * The privileged parent. It answers the daemon's requests, takes back everything the moment the daemon is gone, starts
 * it again, and passes signals on.
 *
 *   starting -> running --exit 0, or a refusal at the first start--> done
 *      ^           |--anything else--> waiting (rules are gone, new connections pass unaccelerated)
 *      '-----------------back-off--------'
 */
import { execFile, spawn } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';
import { dirname, isAbsolute, normalize } from 'node:path';
import {
  closeDescriptor,
  localHostNetwork,
  type MessageChannel,
  openMessageChannel,
  openUnixListener,
  raiseFileLimit,
  socketPair,
} from '../platform/linux/descriptors.js';
import { checkSysctl, type HostNetwork } from '../platform/linux/host-network.js';
import { detachLispPrograms, loadLispPrograms } from '../platform/linux/lisp-programs.js';
import { localHost as localFreeBsdHost } from '../platform/freebsd/local.js';
import type { FreeBsdHost } from '../platform/freebsd/host.js';
import { PlatformError } from '../platform/platform.js';
import { GUARD_FD } from './client.js';
import { actFreeBsd } from './freebsd.js';
import {
  type GuardAnswer,
  type GuardCall,
  packPrograms,
  parseCall,
  type UnixListenRequest,
} from './messages.js';

export interface GuardOptions {
  /** Program and arguments of the daemon: [process.execPath, main.js, '--config', FILE]. */
  command: string[];
  user: string;
  group?: string;
  /** Directories the daemon writes to; made and given to it. */
  directories?: { path: string; mode: number }[];
  /** The LISP device's name, so that what a killed predecessor left of it can be cleaned. */
  device?: string;
  log(level: 'info' | 'warn' | 'error', message: string): void;
  /** Before the first restart; doubled for each one after it. */
  backOffMs?: number;
  /** After this the daemon is killed when it has not ended by itself. */
  stopTimeoutMs?: number;
}

/** All the daemon keeps of root's powers. */
const CAPABILITIES = '-all,+net_admin,+net_raw';
const MAX_BACK_OFF_MS = 30_000;
/** Up for so long, it counts as having worked: the back-off starts anew. */
const WORKED_MS = 30_000;
const STOP_TIMEOUT_MS = 120_000;
/** A daemon loads its eBPF programs once; their maps are the kernel's memory, of which it is not to have any amount. */
const MAX_LOADS = 4;
/** sysexits(3): the daemon cannot work as things are, and says so; trying again would say the same. */
const isRefusal = (code: number): boolean => code >= 64 && code <= 78;

interface Account {
  uid: number;
  gid: number;
}

const ask = (program: string, args: string[]): Promise<string> =>
  new Promise((resolve, reject) =>
    execFile(program, args, { encoding: 'utf8' }, (error, stdout, stderr) =>
      error
        ? reject(
            new PlatformError(`${program} ${args.join(' ')}: ${stderr.trim() || error.message}`, 'EINVAL'),
          )
        : resolve(stdout.trim()),
    ),
  );

/** By the system's own means, so that accounts from a directory service count as well. */
async function account(user: string, group: string | undefined): Promise<Account> {
  if (user.startsWith('-')) throw new PlatformError(`not a user: ${user}`, 'EINVAL');
  const uid = Number(await ask('id', ['-u', '--', user]));
  const gid = group === undefined ? Number(await ask('id', ['-g', '--', user])) : await groupId(group);
  return { uid, gid };
}

async function groupId(group: string): Promise<number> {
  // FreeBSD's getent has no options: '--' would be a group that is not found.
  if (group.startsWith('-')) throw new PlatformError(`not a group: ${group}`, 'EINVAL');
  const [, , gid] = (await ask('getent', ['group', group])).split(':');
  if (gid === undefined || !/^\d+$/.test(gid))
    throw new PlatformError(`there is no group ${group}`, 'EINVAL');
  return Number(gid);
}

/** Runs the daemon until it ends by itself or by SIGTERM; resolves to the exit code to end with. */
export async function runGuard(options: GuardOptions): Promise<number> {
  const guard = new Guard(options);
  return guard.run();
}

class Guard {
  readonly #host: HostNetwork;
  /** On FreeBSD; it does what `#host` does elsewhere. */
  readonly #freebsd: FreeBsdHost | undefined;
  /** Opened for the daemon that runs now: no others are its to change. */
  readonly #devices = new Set<string>();
  /** Of the daemon that runs now. */
  #loads = 0;
  #stopping = false;
  #child: ReturnType<typeof spawn> | undefined;
  #wake: () => void = () => undefined;

  constructor(private readonly options: GuardOptions) {
    const warn = (message: string): void => options.log('warn', message);
    this.#host = localHostNetwork(warn);
    this.#freebsd = process.platform === 'freebsd' ? localFreeBsdHost(warn) : undefined;
  }

  async run(): Promise<number> {
    const { options } = this;
    const who = await account(options.user, options.group);
    if (who.uid === 0)
      throw new PlatformError(`user = "${options.user}" is root: leave it out to run unsplit`, 'EINVAL');
    raiseFileLimit();
    const handlers = (['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const).map((signal) => {
      const handler = (): void => this.#onSignal(signal);
      process.on(signal, handler);
      return [signal, handler] as const;
    });
    try {
      await (this.#freebsd ?? this.#host).clean(options.device);
      let backOff = options.backOffMs ?? 500;
      let worked = false;
      for (;;) {
        const began = performance.now();
        const { code, signal } = await this.#once(who);
        const lasted = performance.now() - began;
        if (this.#stopping || code === 0) return code ?? 0;
        if (lasted >= WORKED_MS) {
          worked = true;
          backOff = options.backOffMs ?? 500;
        }
        if (!worked && code !== null && isRefusal(code)) return code;
        options.log(
          'error',
          `the daemon ended (${signal ?? `exit code ${code}`}) after ${Math.round(lasted / 1000)} s; rules are removed, it is started again in ${backOff} ms`,
        );
        await this.#pause(backOff);
        if (this.#stopping) return 0;
        backOff = Math.min(backOff * 2, MAX_BACK_OFF_MS);
      }
    } finally {
      for (const [signal, handler] of handlers) process.off(signal, handler);
      await (this.#freebsd ?? this.#host).close();
    }
  }

  /** One life of the daemon. When it resolves nothing of it is left. */
  async #once(who: Account): Promise<{ code: number | null; signal: string | null }> {
    const { options } = this;
    for (const { path, mode } of options.directories ?? []) this.#prepare(path, mode, who);
    const [ours, theirs] = socketPair();
    let channel: MessageChannel | undefined;
    try {
      const [program = '', ...words] = this.#freebsd
        ? options.command
        : [
            'setpriv',
            `--reuid=${who.uid}`,
            `--regid=${who.gid}`,
            '--init-groups',
            `--inh-caps=${CAPABILITIES}`,
            `--ambient-caps=${CAPABILITIES}`,
            `--bounding-set=${CAPABILITIES}`,
            '--no-new-privs',
            '--',
            ...options.command,
          ];
      const child = spawn(program, words, {
        stdio: ['ignore', 'inherit', 'inherit', theirs],
        env: { ...process.env, [GUARD_FD]: '3' },
        // No groups but its own are left to it; what needs privilege is the guard's alone.
        ...(this.#freebsd && { uid: who.uid, gid: who.gid }),
      });
      this.#child = child;
      closeDescriptor(theirs);
      channel = openMessageChannel(ours, (value, descriptors) => {
        // It has no reason to send us any.
        descriptors.forEach(closeDescriptor);
        if (value !== undefined) void this.#answer(value, channel!);
      });
      const end = await new Promise<{ code: number | null; signal: string | null }>((resolve) => {
        child.once('error', (error: NodeJS.ErrnoException) => {
          options.log(
            'error',
            `the daemon cannot be started: ${error.code === 'ENOENT' ? 'setpriv is not installed (Debian: util-linux)' : error.message}`,
          );
          resolve({ code: 69, signal: null });
        });
        child.once('exit', (code, signal) => resolve({ code, signal }));
        if (this.#stopping) child.kill('SIGTERM');
      });
      return end;
    } finally {
      this.#child = undefined;
      this.#devices.clear();
      if (this.#loads > 0) detachLispPrograms();
      this.#loads = 0;
      channel?.close();
      await (this.#freebsd ?? this.#host).close();
    }
  }

  #prepare(path: string, mode: number, who: Account): void {
    mkdirSync(path, { recursive: true, mode });
    chownSync(path, who.uid, who.gid);
    chmodSync(path, mode);
  }

  #onSignal(signal: NodeJS.Signals): void {
    // From a terminal the daemon has got the interrupt as well; one word to end is enough.
    const passed = signal === 'SIGINT' ? 'SIGTERM' : signal;
    if (passed === 'SIGTERM' && !this.#stopping) {
      this.#stopping = true;
      this.#wake();
      const child = this.#child;
      setTimeout(() => child?.kill('SIGKILL'), this.options.stopTimeoutMs ?? STOP_TIMEOUT_MS).unref();
    }
    this.#child?.kill(passed);
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopping) this.#wake();
    });
    this.#wake = () => undefined;
  }

  async #answer(value: unknown, channel: MessageChannel): Promise<void> {
    let call: GuardCall;
    try {
      call = parseCall(value);
    } catch (error) {
      this.options.log('warn', `refused a request of the daemon: ${(error as Error).message}`);
      const id = (value as { id?: unknown } | null)?.id;
      if (typeof id === 'number')
        this.#send(channel, { id, error: { message: (error as Error).message, code: 'EINVAL' } });
      return;
    }
    let descriptors: number[] = [];
    try {
      const outcome = await this.#act(call);
      descriptors = outcome.descriptors ?? [];
      this.#send(channel, { id: call.id, result: outcome.result }, descriptors);
    } catch (error) {
      this.#send(channel, {
        id: call.id,
        error: { message: (error as Error).message, code: (error as NodeJS.ErrnoException).code ?? 'EIO' },
      });
    } finally {
      descriptors.forEach(closeDescriptor);
    }
  }

  #send(channel: MessageChannel, answer: GuardAnswer, descriptors: number[] = []): void {
    try {
      channel.send(answer, descriptors);
    } catch (error) {
      // Gone in between: its exit is on the way.
      this.options.log('warn', `an answer could not be sent: ${(error as Error).message}`);
    }
  }

  async #act(
    call: GuardCall,
  ): Promise<{ result?: Extract<GuardAnswer, { result?: unknown }>['result']; descriptors?: number[] }> {
    const host = this.#host;
    switch (call.type) {
      case 'open-tun': {
        const { device, descriptors } = await host.openTun(call.request);
        this.#devices.add(device);
        return { result: { device }, descriptors };
      }
      case 'set-device':
        if (!this.#devices.has(call.device))
          throw new PlatformError(`${call.device} is not a device the daemon has opened`, 'EACCES');
        await host.setDevice(call.device, call.settings);
        return {};
      case 'set-local-prefixes':
        await host.setLocalPrefixes(call.prefixes);
        return {};
      case 'set-rloc-routes':
        await host.setRlocRoutes(call.rlocs);
        return {};
      case 'set-interception':
        await host.setInterception(call.request === 'delivery-only' ? undefined : call.request);
        return {};
      case 'add-bypass':
        await host.addBypass(call.prefix, call.ttlSeconds);
        return {};
      case 'remove-bypass':
        await host.removeBypass(call.prefix);
        return {};
      case 'list-bypass':
        return { result: await host.listBypass() };
      case 'listen':
        return { descriptors: [await host.listen(call.request)] };
      case 'listen-unix':
        return { descriptors: [await this.#listenUnix(call.request)] };
      case 'set-sysctl':
        return { result: await host.setSysctl(checkSysctl(call.name, call.value), call.value) };
      case 'load-lisp-programs':
        if (this.#loads++ >= MAX_LOADS)
          throw new PlatformError('the eBPF programs have been loaded often enough', 'EACCES');
        return packPrograms(loadLispPrograms());
      case 'freebsd': {
        if (!this.#freebsd) throw new PlatformError('this is not FreeBSD', 'ENOSYS');
        const { device, descriptors } = await actFreeBsd(this.#freebsd, this.#devices, call.call);
        return {
          ...(device !== undefined && { result: { device } }),
          ...(descriptors !== undefined && { descriptors }),
        };
      }
      case 'clean':
        await (this.#freebsd ?? host).clean(call.device);
        return {};
      case 'close':
        await (this.#freebsd ?? host).close();
        return {};
    }
  }

  /** Only in directories that are the daemon's anyway, and never over something that is no socket. */
  async #listenUnix({ path, mode, group }: UnixListenRequest): Promise<number> {
    const allowed = this.options.directories?.some(
      (directory) => dirname(path) === normalize(directory.path),
    );
    if (!isAbsolute(path) || normalize(path) !== path || !allowed)
      throw new PlatformError(`a socket at ${path} is not the daemon's to have`, 'EACCES');
    const gid = group === undefined ? 0 : await groupId(group);
    const present = lstatSync(path, { throwIfNoEntry: false });
    if (present && !present.isSocket()) throw new PlatformError(`${path} is there and no socket`, 'EEXIST');
    return openUnixListener(path, mode & 0o777, gid);
  }
}
