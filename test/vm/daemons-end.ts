// SPDX-License-Identifier: BSD-2-Clause

/**
 * The Linux end of the scenarios with whole daemons: amptcpd as a user starts it, one process or guard and daemon, each with a
 * kernel in the guest (as-freebsd.ts) or this one. Runs in a network namespace of its own; reads commands on standard input,
 * one a line, and answers each with one line.
 *
 *   start NAME            until its API says that it runs
 *   config NAME VARIANT   the file it reads when it is started or told to reload
 *   reload NAME
 *   kill NAME daemon|guard
 *   since                 milliseconds since the last kill
 *   restarted NAME        waits for another daemon than the one that was killed
 *   stop NAME             SIGTERM, and waits for its end
 *   get NAME PATH         of the API
 *   user NAME             whose the daemon's process is
 *   log NAME              the last lines that are warnings or worse
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { completeConfig, type DaemonSite, type DaemonsSite } from './daemons.js';

const site = JSON.parse(process.argv[2] ?? '') as DaemonsSite;
const here = fileURLToPath(new URL('.', import.meta.url));
const program = resolve(here, '..', '..', 'src', 'daemon', 'main.js');
const START_MS = 60_000;

const directory = mkdtempSync(join(tmpdir(), 'amptcp-vm-daemons-'));
// Daemons that are somebody else's look into it.
chmodSync(directory, 0o755);

let killed = 0;

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

class Program {
  readonly home: string;
  readonly socket: string;
  readonly file: string;
  #child: ChildProcess | undefined;
  #exit: Promise<number> = Promise.resolve(0);
  #log = '';
  /** The daemon that was killed. */
  #before: number | undefined;

  constructor(
    readonly name: string,
    readonly site: DaemonSite,
  ) {
    this.home = join(directory, name);
    this.socket = join(this.home, 'run', 'amptcpd.sock');
    this.file = join(this.home, 'amptcpd.toml');
    mkdirSync(this.home);
    this.configure(Object.keys(site.configs)[0]!);
  }

  configure(variant: string): void {
    const text = this.site.configs[variant];
    if (text === undefined) throw new Error(`no configuration ${variant}`);
    writeFileSync(this.file, completeConfig(text, this.home));
    chmodSync(this.file, 0o640);
    chownSync(this.file, 0, this.site.gid ?? 0);
  }

  async start(): Promise<string> {
    const began = performance.now();
    const { agent } = this.site;
    const args = agent === undefined ? [] : ['--import', join(here, 'as-freebsd.js')];
    const child = spawn(process.execPath, [program, '--config', this.file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...(agent !== undefined && { AMPTCP_AGENT: agent.address, NODE_OPTIONS: args.join(' ') }),
      },
    });
    this.#child = child;
    const collect = (chunk: Buffer): void =>
      void (this.#log = (this.#log + chunk.toString()).slice(-200_000));
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    let over = false;
    this.#exit = new Promise((done) =>
      child.once('close', (code, signal) => {
        over = true;
        done(code ?? (signal ? 128 : 1));
      }),
    );
    for (;;) {
      if (over) throw new Error(`it ended with ${await this.#exit}: ${this.complaints()}`);
      if (performance.now() - began > START_MS) throw new Error(`it does not run: ${this.complaints()}`);
      if ((await this.running()) !== undefined) return `ok ${Math.round(performance.now() - began)} ms`;
      await pause(50);
    }
  }

  get(path: string, method = 'GET'): Promise<string> {
    return new Promise((done, reject) => {
      const call = request({ socketPath: this.socket, path, method }, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => done(body.replaceAll('\n', ' ')));
        response.on('error', reject);
      });
      call.on('error', reject);
      call.setTimeout(30_000, () => call.destroy(new Error('no answer')));
      call.end();
    });
  }

  /** The process id of the daemon that answers and runs. */
  async running(): Promise<number | undefined> {
    try {
      const { state, pid } = JSON.parse(await this.get('/v1/status')) as { state: string; pid: number };
      return state === 'running' ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  /** The guard's child, or the process itself. */
  daemon(): number {
    const own = this.#child!.pid!;
    const children = readFileSync(`/proc/${own}/task/${own}/children`, 'utf8').trim();
    return children === '' ? own : Number(children.split(' ')[0]);
  }

  kill(what: string): string {
    this.#before = this.daemon();
    killed = performance.now();
    process.kill(what === 'guard' ? this.#child!.pid! : this.#before, 'SIGKILL');
    return `ok ${this.#before}`;
  }

  async restarted(): Promise<string> {
    const began = performance.now();
    while (performance.now() - began < START_MS && this.#child?.exitCode === null) {
      const pid = await this.running();
      if (pid !== undefined && this.daemon() !== this.#before)
        return `ok ${Math.round(performance.now() - killed)} ms`;
      await pause(50);
    }
    throw new Error(`no other daemon runs: ${this.complaints()}`);
  }

  async stop(): Promise<string> {
    const began = performance.now();
    this.#child!.kill('SIGTERM');
    const status = await this.#exit;
    const took = `${Math.round(performance.now() - began)} ms`;
    if (status !== 0) throw new Error(`it ended with ${status} after ${took}: ${this.complaints()}`);
    return `ok ${took}`;
  }

  user(): string {
    return String(statSync(`/proc/${this.daemon()}`).uid);
  }

  complaints(): string {
    const lines = this.#log.split('\n').filter((line) => {
      try {
        return (JSON.parse(line) as { level: number }).level >= 40;
      } catch {
        return line.trim() !== '';
      }
    });
    return lines.slice(-6).join(' / ');
  }

  /** Whatever is left of it. */
  async close(): Promise<void> {
    if (process.env['VM_CONSOLE']) process.stderr.write(`--- ${this.name}\n${this.#log}\n`);
    if (this.#child?.exitCode !== null || this.#child.signalCode !== null) return;
    for (const pid of new Set([this.daemon(), this.#child.pid!])) process.kill(pid, 'SIGKILL');
    await this.#exit;
  }
}

const programs = new Map(Object.entries(site.daemons).map(([name, each]) => [name, new Program(name, each)]));

async function answer(line: string): Promise<string> {
  const [verb = '', name = '', ...words] = line.split(' ');
  if (verb === 'since') return `${Math.round(performance.now() - killed)}`;
  const one = programs.get(name);
  if (!one) return `failed no daemon ${name}`;
  switch (verb) {
    case 'start':
      return one.start();
    case 'config':
      one.configure(words[0] ?? '');
      return 'ok';
    case 'reload':
      return one.get('/v1/config/reload', 'POST');
    case 'kill':
      return one.kill(words[0] ?? '');
    case 'restarted':
      return one.restarted();
    case 'stop':
      return one.stop();
    case 'get':
      return one.get(words[0] ?? '');
    case 'user':
      return one.user();
    case 'log':
      return one.complaints() || 'nothing';
    default:
      return `failed unknown command ${verb}`;
  }
}

// The guest's network behind it is there before or after us: what matters is that the address is on our link.
for (const route of site.routes) execFileSync('ip', ['route', 'add', ...route.split(' ')], { stdio: 'pipe' });
if (!existsSync(program)) throw new Error(`${program} is not there`);
process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    void answer(line)
      .catch((error: unknown) => `failed ${(error as Error).message.replaceAll('\n', ' ')}`)
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    void (async () => {
      for (const one of programs.values()) await one.close();
      rmSync(directory, { recursive: true, force: true });
      process.exit(0);
    })();
  });
