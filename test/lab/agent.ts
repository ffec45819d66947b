// SPDX-License-Identifier: BSD-2-Clause

/**
 * A program the tests run inside a host of the lab: opens and accepts TCP connections as told on standard input, one JSON
 * object a line, and answers each with one line. `agent-client.ts` is its other half.
 */
import { createHash, type Hash } from 'node:crypto';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { pseudoRandom } from '../../src/lab/hosts/pseudo-random.js';

export interface SocketState {
  id: string;
  connected: boolean;
  received: number;
  /** Hash of what was received so far. */
  sha256: string;
  /** Everything asked to be sent has been handed to the system. */
  flushed: boolean;
  /** The peer has closed its direction. */
  ended: boolean;
  closed: boolean;
  /** errno's name. */
  error?: string;
  local?: string;
  localPort?: number;
  remote?: string;
  remotePort?: number;
}

export type Request =
  | { op: 'listen'; port: number; echo?: boolean; pause?: boolean; greet?: boolean }
  | { op: 'unlisten'; port: number }
  | { op: 'connect'; id: string; host: string; port: number }
  /** To a server that greets. Those that have neither been greeted nor closed after `deadlineMs` are `silent`. */
  | {
      op: 'connectMany';
      prefix: string;
      count: number;
      host: string;
      port: number;
      parallel: number;
      deadlineMs: number;
    }
  | { op: 'write'; id: string; name: string; size: number }
  | { op: 'resume'; id: string }
  | { op: 'end'; id: string }
  | { op: 'reset'; id: string }
  | { op: 'state'; id: string }
  | { op: 'accepted'; port: number }
  | { op: 'count' };

export interface ConnectedMany {
  failed: number;
  /** Local ports of those without an answer. */
  silent: number[];
}

export interface Count {
  total: number;
  connected: number;
  closed: number;
  received: number;
}

interface Entry {
  id: string;
  socket: Socket;
  hash: Hash;
  received: number;
  connected: boolean;
  ended: boolean;
  closed: boolean;
  writing: number;
  /** Writes, and the end of this direction, in the order asked for. */
  queue: Promise<void>;
  port?: number;
  error?: string;
  addresses?: Pick<SocketState, 'local' | 'localPort' | 'remote' | 'remotePort'>;
}

const entries = new Map<string, Entry>();
const servers = new Map<number, Server>();

const addressesOf = (socket: Socket): Entry['addresses'] => {
  const text = (address: string | undefined): string | undefined => address?.replace(/^::ffff:/, '');
  return {
    local: text(socket.localAddress),
    localPort: socket.localPort,
    remote: text(socket.remoteAddress),
    remotePort: socket.remotePort,
  };
};

function track(id: string, socket: Socket, connected: boolean, port?: number): Entry {
  const entry: Entry = {
    id,
    socket,
    hash: createHash('sha256'),
    received: 0,
    connected,
    ended: false,
    closed: false,
    writing: 0,
    queue: Promise.resolve(),
    ...(port === undefined ? {} : { port }),
  };
  entries.set(id, entry);
  if (connected) entry.addresses = addressesOf(socket);
  socket.on('connect', () => {
    entry.connected = true;
    entry.addresses = addressesOf(socket);
  });
  socket.on('data', (chunk) => {
    entry.received += chunk.length;
    entry.hash.update(chunk);
  });
  socket.on('end', () => (entry.ended = true));
  socket.on('close', () => (entry.closed = true));
  socket.on('error', (error: NodeJS.ErrnoException) => (entry.error = error.code ?? error.message));
  return entry;
}

function state(entry: Entry): SocketState {
  return {
    id: entry.id,
    connected: entry.connected,
    received: entry.received,
    sha256: entry.hash.copy().digest('hex'),
    flushed: entry.writing === 0 && entry.socket.writableLength === 0,
    ended: entry.ended,
    closed: entry.closed,
    ...(entry.error === undefined ? {} : { error: entry.error }),
    ...entry.addresses,
  };
}

async function write(entry: Entry, name: string, size: number): Promise<void> {
  try {
    for (const chunk of pseudoRandom(name, size)) {
      // The generator's buffers are its own; the socket keeps a copy.
      if (!entry.socket.write(Buffer.from(chunk)) && !entry.closed) {
        await new Promise<void>((resolve) => {
          entry.socket.once('drain', resolve);
          entry.socket.once('close', resolve);
        });
      }
      if (entry.closed) return;
    }
  } finally {
    entry.writing -= 1;
  }
}

function listen(request: Extract<Request, { op: 'listen' }>): Promise<object> {
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: request.pause ?? false }, (socket) => {
    const entry = track(`${request.port}-${++accepted}`, socket, true, request.port);
    if (request.greet) socket.write('hello\n');
    if (request.echo) {
      socket.on('data', (chunk) => {
        if (!socket.write(chunk)) {
          socket.pause();
          socket.once('drain', () => socket.resume());
        }
      });
      socket.on('end', () => socket.end());
    }
    if (request.pause) entry.connected = true;
  });
  servers.set(request.port, server);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '::', port: request.port, backlog: 4096 }, () => resolve({}));
  });
}

async function connectMany(request: Extract<Request, { op: 'connectMany' }>): Promise<ConnectedMany> {
  let next = 0;
  let failed = 0;
  const silent: number[] = [];
  const end = performance.now() + request.deadlineMs;
  const worker = async (): Promise<void> => {
    while (next < request.count && performance.now() < end) {
      const id = `${request.prefix}-${next++}`;
      const socket = connect({ host: request.host, port: request.port, allowHalfOpen: true });
      track(id, socket, false);
      // A gateway may accept before the server has: it is the server's greeting that says the way is whole.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          silent.push(socket.localPort ?? 0);
          resolve();
        }, end - performance.now());
        const answered = (): void => {
          clearTimeout(timer);
          resolve();
        };
        socket.once('data', answered);
        socket.once('close', () => {
          failed += 1;
          answered();
        });
      });
    }
  };
  await Promise.all(Array.from({ length: request.parallel }, worker));
  return { failed, silent };
}

function one(id: string): Entry {
  const entry = entries.get(id);
  if (!entry) throw new Error(`no socket '${id}'`);
  return entry;
}

async function handle(request: Request): Promise<object> {
  switch (request.op) {
    case 'listen':
      return listen(request);
    case 'unlisten':
      servers.get(request.port)?.close();
      servers.delete(request.port);
      return {};
    case 'connect':
      track(
        request.id,
        connect({ host: request.host, port: request.port, allowHalfOpen: true, noDelay: true }),
        false,
      );
      return {};
    case 'connectMany':
      return connectMany(request);
    case 'write': {
      const entry = one(request.id);
      entry.writing += 1;
      entry.queue = entry.queue.then(() => write(entry, request.name, request.size));
      return {};
    }
    case 'resume':
      one(request.id).socket.resume();
      return {};
    case 'end': {
      const entry = one(request.id);
      entry.queue = entry.queue.then(() => void entry.socket.end());
      return {};
    }
    case 'reset':
      one(request.id).socket.resetAndDestroy();
      return {};
    case 'state':
      return state(one(request.id));
    case 'accepted':
      return {
        sockets: [...entries.values()].filter(({ port }) => port === request.port).map((entry) => entry.id),
      };
    case 'count': {
      const count: Count = { total: 0, connected: 0, closed: 0, received: 0 };
      for (const entry of entries.values()) {
        count.total += 1;
        if (entry.connected && !entry.closed) count.connected += 1;
        if (entry.closed) count.closed += 1;
        count.received += entry.received;
      }
      return count;
    }
  }
}

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { number, ...request } = JSON.parse(line) as Request & { number: number };
  handle(request as Request).then(
    (value) => process.stdout.write(`${JSON.stringify({ number, value })}\n`),
    (error: Error) => process.stdout.write(`${JSON.stringify({ number, error: error.message })}\n`),
  );
});
input.on('close', () => process.exit(0));
