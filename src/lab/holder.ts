// SPDX-License-Identifier: BSD-2-Clause

/**
 * The process that holds a lab: process 1 of namespaces of its own (network, mount, pid, and user where not root), in
 * which every host, daemon and server lives. When it ends, the kernel ends and removes everything in it.
 *
 *   unshare --net --mount --pid [--user --map-root-user] --fork --kill-child
 *     `- sh (process 1): private /run, so that names of network namespaces are private too; then waits
 *   nsenter --pid --mount [--user] --net=/run/netns/HOST COMMAND
 *
 * Of a lab that belongs to a running command the holder waits for the end of its standard input, which comes even when
 * that command is killed. That of a standing lab waits for a signal.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import {
  LabError,
  type Outcome,
  type ProcessIdentity,
  type RunOptions,
  finished,
  identity,
  isAlive,
  run,
} from './process.js';

const SCRIPT = `
read -r pid rest < /proc/self/stat
mount -t tmpfs -o mode=755 tmpfs /run || exit 71
mkdir -p /run/netns || exit 71
# Where the parent's /proc is masked (containers) a new one is refused; the old one does as well.
mount -t proc proc /proc 2>/dev/null
ip link set lo up || exit 72
echo "ready $pid"
`;

export class Holder {
  private constructor(
    readonly identity: ProcessIdentity,
    /** Namespaces of an unprivileged user. */
    readonly rootless: boolean,
    private readonly child?: ChildProcess,
  ) {}

  /** @throws LabError naming what the system refused. */
  static async start(options: { standing: boolean }): Promise<Holder> {
    const rootless = process.getuid?.() !== 0;
    const args = [
      '--net',
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      ...(rootless ? ['--user', '--map-root-user'] : []),
    ];
    // Process 1 inherits orphans; with SIGCHLD ignored the kernel buries them.
    const last = options.standing ? 'sleep infinity </dev/null' : 'cat';
    const wait = `exec env --ignore-signal=CHLD ${last} >/dev/null 2>&1`;
    const child = spawn('unshare', [...args, 'sh', '-c', `${SCRIPT}${wait}`], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: options.standing,
    });
    let printed = '';
    let complaints = '';
    child.stdin.on('error', () => undefined);
    child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
    const pid = await new Promise<number>((resolve, reject) => {
      const fail = (why: string): void => reject(new LabError(`namespaces are not available: ${why}`));
      child.once('error', (error) => fail(error.message));
      child.once('close', (code) => fail(complaints.trim() || `unshare ended with status ${code}`));
      child.stdout.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
        const match = /^ready (\d+)$/m.exec(printed);
        if (match) resolve(Number(match[1]));
      });
    });
    const who = identity(pid);
    if (!who) throw new LabError('the process that holds the lab ended at once');
    if (options.standing) {
      child.unref();
      child.stdin.destroy();
      child.stdout.destroy();
      child.stderr.destroy();
    }
    return new Holder(who, rootless, options.standing ? undefined : child);
  }

  /** One that another process has started. */
  static attach(who: ProcessIdentity): Holder {
    return new Holder(who, process.getuid?.() !== 0);
  }

  alive(): boolean {
    return isAlive(this.identity);
  }

  /** The command that runs `command` in a host, or with `undefined` in the namespace that holds all hosts. */
  enter(host: string | undefined, command: string[]): [string, string[]] {
    const { pid } = this.identity;
    const net = host === undefined ? '--net' : `--net=/proc/${pid}/root/run/netns/${host}`;
    const user = this.rootless ? ['--user', '--preserve-credentials'] : [];
    return ['nsenter', ['--target', String(pid), ...user, '--mount', '--pid', net, '--', ...command]];
  }

  run(host: string | undefined, command: string[], options: RunOptions = {}): Promise<Outcome> {
    const [program, args] = this.enter(host, command);
    return run(program, args, options);
  }

  spawn(host: string | undefined, command: string[], options: SpawnOptions = {}): ChildProcess {
    const [program, args] = this.enter(host, command);
    return spawn(program, args, options);
  }

  /** Ends everything in the lab. */
  async destroy(): Promise<void> {
    const over = this.child ? finished(this.child) : undefined;
    if (this.alive()) {
      try {
        process.kill(this.identity.pid, 'SIGKILL');
      } catch {
        // ended in between
      }
    }
    if (over) await over;
    else {
      const end = performance.now() + 5000;
      while (this.alive() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
