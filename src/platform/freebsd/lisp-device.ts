// SPDX-License-Identifier: BSD-2-Clause

/** The interface lisp0 and the routes into it, by ifconfig(8), route(8) and kldload(8). */
import { execFile } from 'node:child_process';
import { PlatformError } from '../platform.js';

export interface DeviceSettings {
  mtu: number;
  /** EID prefixes routed into the interface. */
  routes: string[];
  /** Those of the configuration before. */
  previous: string[];
}

export interface LispDevice {
  /** Makes the interface, or takes the one there is. Returns its name. */
  create(name: string): Promise<string>;
  configure(name: string, settings: DeviceSettings): Promise<void>;
  destroy(name: string): Promise<void>;
}

/** Runs a command, `input` on its standard input; rejects with what it wrote to standard error. */
export type Run = (command: string, args: string[], input?: string) => Promise<string>;

export const runCommand: Run = (command, args, input) =>
  new Promise((resolve, reject) => {
    const child = execFile(command, args, { timeout: 10_000 }, (error, stdout, stderr) => {
      if (error) {
        reject(new PlatformError(`${command} ${args.join(' ')}: ${stderr.trim() || error.message}`, 'EIO'));
      } else {
        resolve(stdout);
      }
    });
    // It may end without reading it, and says why itself.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });

/** Loads a module that is not there yet. In a jail only the host can, and must have. */
export async function loadModule(run: Run, name: string): Promise<void> {
  try {
    await run('/sbin/kldstat', ['-q', '-n', `${name}.ko`]);
  } catch {
    // Not a file of its own: perhaps part of the kernel, which is no error with -n.
    await run('/sbin/kldload', ['-n', name]);
  }
}

/** Names the cloner makes: lisp0, lisp1, ... */
const NAME = /^lisp\d{1,4}$/;

export class CommandLispDevice implements LispDevice {
  constructor(private readonly run: Run = runCommand) {}

  async create(name: string): Promise<string> {
    if (!NAME.test(name)) {
      throw new PlatformError(`${name}: lisp(4) interfaces are called lisp0, lisp1, ...`, 'EINVAL');
    }
    await loadModule(this.run, 'lisp');
    const interfaces = (await this.run('/sbin/ifconfig', ['-l'])).trim().split(/\s+/);
    if (!interfaces.includes(name)) await this.run('/sbin/ifconfig', [name, 'create']);
    return name;
  }

  async configure(name: string, { mtu, routes, previous }: DeviceSettings): Promise<void> {
    await this.run('/sbin/ifconfig', [name, 'mtu', String(mtu), 'up']);
    const route = (verb: 'add' | 'delete', prefix: string): Promise<string> =>
      this.run('/sbin/route', [
        '-q',
        ...['-n', verb, prefix.includes(':') ? '-inet6' : '-inet', '-net', prefix],
        ...['-interface', name],
      ]);
    for (const prefix of routes) if (!previous.includes(prefix)) await route('add', prefix);
    for (const prefix of previous) if (!routes.includes(prefix)) await route('delete', prefix);
  }

  async destroy(name: string): Promise<void> {
    await this.run('/sbin/ifconfig', [name, 'destroy']);
  }
}
