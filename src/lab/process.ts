// SPDX-License-Identifier: BSD-2-Clause

/** Small helpers around child processes and waiting. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  input?: string;
  timeoutMs?: number;
  /** Do not reject on a status other than 0. */
  tolerant?: boolean;
  env?: NodeJS.ProcessEnv;
}

export class LabError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'LabError';
  }
}

export function finished(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    if (child.exitCode !== null) resolve(child.exitCode);
    else if (child.signalCode !== null) resolve(128);
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}

/** Runs a program to its end. @throws LabError with what it printed, unless `tolerant`. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<Outcome> {
  const spawnOptions: SpawnOptions = { stdio: ['pipe', 'pipe', 'pipe'] };
  if (options.env) spawnOptions.env = { ...process.env, ...options.env };
  const child = spawn(command, args, spawnOptions);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr!.on('data', (chunk: Buffer) => err.push(chunk));
  // A program that ends without reading its input is judged by its status, not by our failed write.
  child.stdin!.on('error', () => undefined);
  child.stdin!.end(options.input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 60_000);
  let status: number;
  try {
    status = await finished(child);
  } catch (error) {
    throw new LabError(`${command} could not be started: ${(error as Error).message}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
  const outcome = { status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
  if (status !== 0 && !options.tolerant) {
    throw new LabError(
      `'${command} ${args.join(' ')}' ended with status ${status}: ${outcome.stderr.trim()}`,
    );
  }
  return outcome;
}

/**
 * Polls until `condition` yields something other than undefined or false.
 * @throws LabError naming `what` when the deadline passes; the last error of the condition is its cause.
 */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 10_000,
  intervalMs = 25,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value as T;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= end) {
      const detail = last instanceof Error ? ` (${last.message})` : '';
      throw new LabError(`waited ${deadlineMs / 1000} s in vain for ${what}${detail}`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}

/** Identifies a process beyond its number, which the system uses again. */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended, whatever its entry says.
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export interface ProcessIdentity {
  pid: number;
  startTime: string;
}

export function identity(pid: number): ProcessIdentity | undefined {
  const started = startTime(pid);
  return started === undefined ? undefined : { pid, startTime: started };
}

export const isAlive = (process: ProcessIdentity | undefined): boolean =>
  process !== undefined && startTime(process.pid) === process.startTime;
