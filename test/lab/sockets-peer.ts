// SPDX-License-Identifier: BSD-2-Clause
/*
 * A client or server in a namespace of its own, driven over IPC. What it sends is a fixed sequence, so that the other
 * side's SHA-256 can be compared.
 *
 * Client to server, first line: JSON {send, hold?, reset?}; then octets until the end of the direction.
 */
import { createHash, type Hash } from 'node:crypto';
import { createServer, Socket } from 'node:net';
import { nativePart } from '../../src/native/index.js';

export interface Wish {
  /** Octets the server sends. */
  send: number;
  /** The server sends only after the client's direction has ended. */
  afterEnd?: boolean;
  /** The server resets the connection after this many octets were received. */
  resetAfter?: number;
  /** The server never ends its direction. */
  hold?: boolean;
}

export interface Outcome {
  received: number;
  sha256: string;
  error?: string;
  remote?: string;
  local?: string;
}

export type PeerRequest =
  | { do: 'listen'; address: string; port: number; mptcp: boolean }
  | {
      do: 'transfer';
      id: number;
      address: string;
      port: number;
      local?: string;
      mptcp?: boolean;
      /** Octets sent after the wish. */
      send: number;
      wish: Wish;
      /** The client resets after this many octets were received. */
      resetAfter?: number;
      /** Send octets as urgent data in between (native). */
      keepOpen?: boolean;
    }
  | { do: 'end'; id: number };

const BLOCK = Buffer.alloc(64 * 1024, 0);
for (let index = 0; index < BLOCK.length; index++) BLOCK[index] = (index * 31 + (index >> 8)) & 0xff;

export function expectedHash(length: number): string {
  const hash = createHash('sha256');
  for (let left = length; left > 0; left -= BLOCK.length)
    hash.update(BLOCK.subarray(0, Math.min(left, BLOCK.length)));
  return hash.digest('hex');
}

async function send(socket: Socket, length: number): Promise<void> {
  for (let left = length; left > 0 && !socket.destroyed; left -= BLOCK.length)
    if (!socket.write(BLOCK.subarray(0, Math.min(left, BLOCK.length))))
      await new Promise<void>((resolve) => {
        const go = (): void => {
          socket.off('drain', go);
          socket.off('close', go);
          resolve();
        };
        socket.once('drain', go);
        socket.once('close', go);
      });
}

class Receiver {
  received = 0;
  readonly hash: Hash = createHash('sha256');
  take(data: Buffer): void {
    this.received += data.length;
    this.hash.update(data);
  }
  outcome(socket: Socket, error?: string): Outcome {
    return {
      received: this.received,
      sha256: this.hash.digest('hex'),
      ...(error === undefined ? {} : { error }),
      remote: socket.remoteAddress,
      local: socket.localAddress,
    };
  }
}

function serve(socket: Socket): void {
  const receiver = new Receiver();
  let wish: Wish | undefined;
  let head = Buffer.alloc(0);
  let error: string | undefined;
  const { remoteAddress, remotePort } = socket;
  process.send!({ event: 'accepted', remote: remoteAddress, remotePort });
  const work = async (): Promise<void> => {
    await send(socket, wish!.send);
    if (!wish!.hold) socket.end();
  };
  const check = (): void => {
    if (wish?.resetAfter !== undefined && receiver.received >= wish.resetAfter) socket.resetAndDestroy();
  };
  socket.on('data', (data: Buffer) => {
    if (wish) receiver.take(data);
    else {
      head = Buffer.concat([head, data]);
      const end = head.indexOf(10);
      if (end < 0) return;
      wish = JSON.parse(head.subarray(0, end).toString()) as Wish;
      if (end + 1 < head.length) receiver.take(head.subarray(end + 1));
      if (!wish.afterEnd) void work();
    }
    check();
  });
  socket.on('end', () => {
    process.send!({ event: 'server-end' });
    if (wish?.afterEnd) void work();
  });
  socket.on('error', (failure: NodeJS.ErrnoException) => (error = failure.code));
  socket.on('close', () =>
    process.send!({
      event: 'served',
      outcome: { ...receiver.outcome(socket, error), remote: remoteAddress },
    }),
  );
}

const open = new Map<number, Socket>();

function transfer(request: PeerRequest & { do: 'transfer' }): void {
  const receiver = new Receiver();
  let error: string | undefined;
  let socket: Socket;
  const started = (): void => {
    socket.write(JSON.stringify(request.wish) + '\n');
    void send(socket, request.send).then(() => {
      if (!request.keepOpen) socket.end();
    });
  };
  if (request.mptcp) {
    const mptcp = nativePart('mptcp');
    mptcp.start(
      (batch) => {
        if (batch[0]?.error) {
          process.send!({
            event: 'transferred',
            id: request.id,
            outcome: { received: 0, sha256: '', error: batch[0].error },
          });
          return;
        }
        connected(batch[0]!.descriptor);
      },
      () => undefined,
    );
    const prepared = mptcp.prepare({
      address: request.address,
      port: request.port,
      mptcp: true,
      transparent: false,
      ...(request.local === undefined ? {} : { localAddress: request.local }),
    });
    if (mptcp.connect(prepared.descriptor, request.address, request.port, 5000))
      connected(prepared.descriptor);
    return;
  }
  socket = new Socket({ allowHalfOpen: true });
  attach();
  socket.connect(
    { host: request.address, port: request.port, ...(request.local ? { localAddress: request.local } : {}) },
    started,
  );

  function connected(fd: number): void {
    socket = new Socket({ fd, allowHalfOpen: true });
    attach();
    started();
  }
  function attach(): void {
    open.set(request.id, socket);
    socket.on('data', (data: Buffer) => {
      const before = receiver.received;
      receiver.take(data);
      if (before === 0) process.send!({ event: 'first-byte', id: request.id });
      if (Math.floor(before / 1e6) !== Math.floor(receiver.received / 1e6))
        process.send!({ event: 'progress', id: request.id, received: receiver.received });
      if (request.resetAfter !== undefined && receiver.received >= request.resetAfter)
        socket.resetAndDestroy();
    });
    // A transfer that was kept open ends when the server has said everything.
    socket.on('end', () => request.keepOpen && socket.end());
    socket.on('error', (failure: NodeJS.ErrnoException) => (error = failure.code));
    socket.on('close', () => {
      open.delete(request.id);
      process.send!({ event: 'transferred', id: request.id, outcome: receiver.outcome(socket, error) });
    });
  }
}

function main(): void {
  process.on('message', (request: PeerRequest) => {
    switch (request.do) {
      case 'listen': {
        const descriptor = nativePart('descriptors').openListener(
          request.address,
          request.port,
          request.mptcp,
          1024,
        );
        createServer({ allowHalfOpen: true }, serve).listen({ fd: descriptor }, () =>
          process.send!({ event: 'listening' }),
        );
        break;
      }
      case 'transfer':
        transfer(request);
        break;
      case 'end':
        open.get(request.id)?.end();
        break;
    }
  });
  process.on('disconnect', () => process.exit(0));
  process.send!({ event: 'ready' });
}

if (process.argv[2] === 'peer') main();
