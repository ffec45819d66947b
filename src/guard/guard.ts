// SPDX-License-Identifier: BSD-2-Clause

/** The privileged parent. See index.ts. */

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
}

/** Runs the daemon until it ends by itself or by SIGTERM; resolves to the exit code to end with. */
export function runGuard(_options: GuardOptions): Promise<number> {
  return Promise.reject(new Error('not yet'));
}
