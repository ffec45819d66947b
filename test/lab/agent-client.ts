// SPDX-License-Identifier: BSD-2-Clause

/** Sockets in a host of the lab, driven from a test. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Lab } from '../../src/lab/lab.js';
import { waitFor } from '../../src/lab/process.js';
import type { ConnectedMany, Count, Request, SocketState } from './agent.js';

/** For an agent to answer, or to end, on a loaded machine. */
const ANSWER_MS = 30_000;

/** A socket of an agent, opened or accepted there. */
export class RemoteSocket {
  constructor(
    private readonly agent: Agent,
    readonly id: string,
  ) {}

  state(): Promise<SocketState> {
    return this.agent.ask<SocketState>({ op: 'state', id: this.id });
  }

  async write(name: string, size: number): Promise<void> {
    await this.agent.ask({ op: 'write', id: this.id, name, size });
  }

  async resume(): Promise<void> {
    await this.agent.ask({ op: 'resume', id: this.id });
  }

  /** FIN: no more from this side. */
  async end(): Promise<void> {
    await this.agent.ask({ op: 'end', id: this.id });
  }

  /** RST. */
  async reset(): Promise<void> {
    await this.agent.ask({ op: 'reset', id: this.id });
  }

  waitFor(
    what: string,
    condition: (state: SocketState) => boolean,
    deadlineMs = 10_000,
  ): Promise<SocketState> {
    let last: SocketState | undefined;
    return waitFor(
      `${this.id}: ${what}`,
      async () => {
        last = await this.state();
        return condition(last) && last;
      },
      deadlineMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it is ${JSON.stringify(last)}`, { cause: error });
    });
  }
}

export class Agent {
  private number = 0;
  private ids = 0;
  private rest = '';
  private ended = false;
  private readonly waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();

  private constructor(private readonly child: ChildProcess) {
    child.stdin!.on('error', () => undefined);
    child.stdout!.on('data', (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString()).split('\n');
      this.rest = lines.pop() ?? '';
      for (const line of lines) {
        const { number, value, error } = JSON.parse(line) as {
          number: number;
          value?: unknown;
          error?: string;
        };
        const waiting = this.waiting.get(number);
        this.waiting.delete(number);
        if (error === undefined) waiting?.resolve(value);
        else waiting?.reject(new Error(error));
      }
    });
    child.once('close', () => {
      this.ended = true;
      for (const { reject } of this.waiting.values()) reject(new Error('the agent has ended'));
      this.waiting.clear();
    });
  }

  /** `mptcp`: what it listens on or connects with speaks MPTCP. */
  static async start(
    lab: Lab,
    host: string,
    options: { mptcp?: boolean; name?: string } = {},
  ): Promise<Agent> {
    const env = options.mptcp ? await lab.mptcpEnvironment() : {};
    const program = fileURLToPath(new URL('agent.js', import.meta.url));
    return new Agent(
      lab.spawn(host, options.name ?? 'agent', [process.execPath, program], { piped: true, env }),
    );
  }

  ask<T = unknown>(request: Request, deadlineMs = ANSWER_MS): Promise<T> {
    const number = ++this.number;
    let timer: NodeJS.Timeout;
    return new Promise<T>((resolve, reject) => {
      timer = setTimeout(() => {
        this.waiting.delete(number);
        reject(
          new Error(`the agent did not answer within ${deadlineMs / 1000} s: ${JSON.stringify(request)}`),
        );
      }, deadlineMs);
      this.waiting.set(number, { resolve: resolve as (value: unknown) => void, reject });
      this.child.stdin!.write(`${JSON.stringify({ number, ...request })}\n`);
    }).finally(() => clearTimeout(timer));
  }

  /** `count` connections to a server that greets, `parallel` at a time. */
  connectMany(options: Omit<Extract<Request, { op: 'connectMany' }>, 'op'>): Promise<ConnectedMany> {
    return this.ask<ConnectedMany>({ op: 'connectMany', ...options }, options.deadlineMs + ANSWER_MS);
  }

  async listen(
    port: number,
    options: { echo?: boolean; pause?: boolean; greet?: boolean } = {},
  ): Promise<void> {
    await this.ask({ op: 'listen', port, ...options });
  }

  async unlisten(port: number): Promise<void> {
    await this.ask({ op: 'unlisten', port });
  }

  async connect(host: string, port: number): Promise<RemoteSocket> {
    const id = `c${++this.ids}`;
    await this.ask({ op: 'connect', id, host, port });
    return new RemoteSocket(this, id);
  }

  /** The `index`th connection (from 0) accepted on a port. */
  async accepted(port: number, index = 0, deadlineMs = 10_000): Promise<RemoteSocket> {
    const id = await waitFor(
      `connection ${index + 1} on port ${port}`,
      async () => (await this.ask<{ sockets: string[] }>({ op: 'accepted', port })).sockets[index],
      deadlineMs,
    );
    return new RemoteSocket(this, id);
  }

  count(): Promise<Count> {
    return this.ask<Count>({ op: 'count' });
  }

  async close(): Promise<void> {
    // It ends with the lab, which may be gone already.
    if (this.ended) return;
    const over = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin!.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), ANSWER_MS);
    await over;
    clearTimeout(timer);
  }
}
