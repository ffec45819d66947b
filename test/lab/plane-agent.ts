// SPDX-License-Identifier: BSD-2-Clause
/*
 * One host of the data plane's test network: holds a plane (argument 'user' or 'kernel') and makes traffic, as told over IPC.
 * Each request {id, call, args} is answered by {id, result} or {id, error}; events of the plane come as {event}.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import type { Mapping, Path } from '../../src/lisp/mapping.js';
import { localHostNetwork } from '../../src/platform/linux/descriptors.js';
import type { RlocRoute } from '../../src/platform/linux/host-network.js';
import type { Flow, LispDataPlane, PlaneOptions } from '../../src/platform/platform.js';

/** 'clsact': in the kernel, attached as kernels before 6.6 ask for it. */
export type PlaneKind = 'user' | 'kernel' | 'clsact';

const host = localHostNetwork((message) => console.error(message));

async function makePlane(kind: string): Promise<LispDataPlane> {
  const { LinuxLispDataPlane } = await import('../../src/platform/linux/lisp-data-plane.js');
  const behind = new LinuxLispDataPlane(host);
  if (kind === 'user') return behind;
  const { KernelLispDataPlane } = await import('../../src/platform/linux/kernel-plane.js');
  const { nativePart } = await import('../../src/native/index.js');
  return new KernelLispDataPlane({
    behind,
    native: nativePart('bpf'),
    required: true,
    clsact: kind === 'clsact',
  });
}

/** Octets that both ends can make: the n-th is a function of n alone. */
const PATTERN = Buffer.alloc(1 << 20, 0);
for (let i = 0; i < PATTERN.length; i++) PATTERN[i] = (i * 31 + (i >> 8) * 7) & 0xff;

function sendAll(socket: Socket, length: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = length;
    socket.on('error', reject);
    const more = (): void => {
      while (left > 0) {
        const part = PATTERN.subarray(0, Math.min(left, PATTERN.length));
        left -= part.length;
        if (!socket.write(part)) return void socket.once('drain', more);
      }
      socket.end(() => resolve());
    };
    more();
  });
}

function receiveAll(
  socket: Socket,
  onBytes?: (count: number) => void,
): Promise<{ length: number; sha256: string }> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    let length = 0;
    socket.on('data', (data) => {
      hash.update(data);
      length += data.length;
      onBytes?.(length);
    });
    socket.on('error', reject);
    socket.on('end', () => resolve({ length, sha256: hash.digest('hex') }));
  });
}

export function expected(length: number): { length: number; sha256: string } {
  const hash = createHash('sha256');
  for (let left = length; left > 0; left -= PATTERN.length)
    hash.update(PATTERN.subarray(0, Math.min(left, PATTERN.length)));
  return { length, sha256: hash.digest('hex') };
}

let plane: LispDataPlane;
let progress = 0;
const received: Promise<{ length: number; sha256: string }>[] = [];

/** What can be asked of a host. */
export const calls = {
  async startPlane(kind: PlaneKind, options: PlaneOptions, rlocs: RlocRoute[], localPrefixes: string[]) {
    await host.setRlocRoutes(rlocs);
    await host.setLocalPrefixes(localPrefixes);
    plane = await makePlane(kind);
    return plane.start(options, (event) => process.send!({ event }));
  },
  async updatePlane(options: PlaneOptions) {
    await plane.update(options);
  },
  async stopPlane() {
    await plane.stop();
    await host.close();
  },
  clean: () => host.clean('lisp0'),
  setMapping(mapping: Mapping) {
    plane.setMapping({ ...mapping, ttlSeconds: Infinity });
  },
  deleteMapping(iid: number, eid: string) {
    plane.deleteMapping(iid, eid);
  },
  listMappings: () => plane.listMappings(),
  pin(flow: Flow, path: Path) {
    plane.pin(flow, path);
  },
  unpin(flow: Flow) {
    plane.unpin(flow);
  },
  setPathState(path: Path, up: boolean) {
    plane.setPathState(path, up);
  },
  listPins: () => plane.listPins(),
  paths: () => plane.paths(),
  stats: () => plane.stats(),
  /** What the eBPF programs did, where there are any. */
  programs: () => (plane as { programCounters?: () => Record<string, number> }).programCounters?.(),

  /** A TCP server that reads '<length>\n' and sends that much, or reads all there is when it is 0; results by `served`. */
  listen(address: string, port: number) {
    return new Promise<void>((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.once('readable', () => {
          const first = socket.read() as Buffer | null;
          if (first === null) return;
          const end = first.indexOf(10);
          const length = Number(first.subarray(0, end).toString());
          if (end + 1 < first.length) socket.unshift(first.subarray(end + 1));
          if (length > 0) {
            socket.resume();
            sendAll(socket, length).catch(() => undefined);
          } else {
            const all = receiveAll(socket, (count) => (progress = count));
            received.push(all);
            all.then(
              () => socket.end(),
              () => undefined,
            );
          }
        });
        socket.on('error', () => undefined);
      });
      server.on('error', reject);
      server.listen(port, address, resolve);
    });
  },
  /** What the next connection in line delivered. */
  served: () => received.shift() ?? Promise.reject(new Error('nothing was received')),
  progress: () => progress,
  upload(from: string, to: string, port: number, length: number, localPort?: number) {
    return new Promise<void>((resolve, reject) => {
      progress = 0;
      const socket = connect({ host: to, port, localAddress: from, localPort, noDelay: true });
      socket.on('error', reject);
      socket.on('connect', () => {
        socket.write('0\n');
        sendAll(socket, length).catch(reject);
      });
      socket.resume();
      socket.on('end', () => resolve());
    });
  },
  download(from: string, to: string, port: number, length: number, localPort?: number) {
    return new Promise<{ length: number; sha256: string }>((resolve, reject) => {
      progress = 0;
      const socket = connect({ host: to, port, localAddress: from, localPort });
      socket.on('error', reject);
      socket.on('connect', () => {
        socket.write(`${length}\n`);
        receiveAll(socket, (count) => (progress = count)).then(resolve, reject);
      });
    });
  },
  /** Answers each datagram with itself. */
  echo(address: string, port: number) {
    return new Promise<void>((resolve, reject) => {
      const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
      socket.on('error', reject);
      socket.on('message', (data, from) => socket.send(data, from.port, from.address));
      socket.bind(port, address, resolve);
    });
  },
  /** Sends `count` datagrams, each from a port of its own, and tells how many came back (0 to not wait). */
  async datagrams(
    from: string,
    to: string,
    port: number,
    count: number,
    length: number,
    answers: number,
    ttl = 64,
  ) {
    let got = 0;
    for (let at = 0; at < count; at += 50) {
      const sockets = await Promise.all(
        Array.from(
          { length: Math.min(50, count - at) },
          () =>
            new Promise<ReturnType<typeof createSocket>>((resolve, reject) => {
              const socket = createSocket(from.includes(':') ? 'udp6' : 'udp4');
              socket.on('error', reject);
              socket.on('message', (data) => (got += data.length === length ? 1 : 0));
              socket.bind(0, from, () => {
                socket.setTTL(ttl);
                socket.send(PATTERN.subarray(0, length), port, to, (error) =>
                  error ? reject(error) : resolve(socket),
                );
              });
            }),
        ),
      );
      const end = performance.now() + 3000;
      while (answers > 0 && got < Math.min(at + 50, answers) && performance.now() < end)
        await new Promise((resolve) => setTimeout(resolve, 2));
      for (const socket of sockets) socket.close();
    }
    return got;
  },
  /** Raw octets to a UDP port, from any local address. */
  spray(from: string, to: string, port: number, hex: string[]) {
    return new Promise<void>((resolve, reject) => {
      const socket = createSocket(from.includes(':') ? 'udp6' : 'udp4');
      socket.on('error', reject);
      socket.bind(0, from, () => {
        let left = hex.length;
        for (const data of hex)
          socket.send(Buffer.from(data, 'hex'), port, to, () => {
            if (--left === 0) socket.close(() => resolve());
          });
      });
    });
  },
};

export type Calls = typeof calls;

if (process.argv[2] === 'agent') {
  process.on('message', ({ id, call, args }: { id: number; call: keyof Calls; args: never[] }) => {
    void Promise.resolve()
      .then(() => (calls[call] as (...all: never[]) => unknown)(...args))
      .then(
        (result) => process.send!({ id, result }),
        (error: Error) => process.send!({ id, error: error.stack ?? String(error) }),
      );
  });
  process.on('disconnect', () => process.exit(0));
  process.send!({ ready: true });
}
