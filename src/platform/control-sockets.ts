// SPDX-License-Identifier: BSD-2-Clause

/**
 * LISP control datagrams over the host's UDP sockets, the same on every real platform. One socket per local address: a
 * message leaves from the address it is to come from, and what arrives is known by the address it was sent to.
 */
import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { addressFamily, canonicalAddress } from '../lisp/prefix.js';
import { PlatformError, type ControlTransport, type Datagram } from './platform.js';

interface LocalSocket {
  address: string;
  socket: Socket | undefined;
  /** Ends the attempts to open it. */
  cancel(): void;
}

/** An address that is not there (yet): an interface that is down, IPv6 duplicate address detection. */
const RETRY_MS = 1000;
const ABSENT = new Set(['EADDRNOTAVAIL', 'ENODEV']);

export class ControlSockets implements ControlTransport {
  private readonly sockets = new Map<string, LocalSocket>();
  private port = 0;
  private onDatagram: (datagram: Datagram) => void = () => undefined;
  /** Datagrams that could not be sent, by errno's name. */
  readonly lost: Record<string, number> = {};

  async start(addresses: string[], port: number, onDatagram: (datagram: Datagram) => void): Promise<void> {
    this.port = port;
    this.onDatagram = onDatagram;
    try {
      await this.update(addresses);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async update(addresses: string[]): Promise<void> {
    const wanted = new Set(addresses.map(canonicalAddress));
    const added = [...wanted].filter((address) => !this.sockets.has(address));
    const opened: string[] = [];
    try {
      for (const address of added) {
        await this.open(address);
        opened.push(address);
      }
    } catch (error) {
      // All or nothing: the sockets there were go on.
      for (const address of opened) this.close(address);
      throw error;
    }
    for (const address of [...this.sockets.keys()]) if (!wanted.has(address)) this.close(address);
  }

  /** Resolves when the socket is bound, or when its address turns out not to be there and is being waited for. */
  private async open(address: string): Promise<void> {
    const entry: LocalSocket = { address, socket: undefined, cancel: () => undefined };
    this.sockets.set(address, entry);
    try {
      await this.bind(entry);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'EIO';
      if (ABSENT.has(code)) return this.retry(entry);
      this.sockets.delete(address);
      const hint = code === 'EADDRINUSE' ? '; is another LISP control plane running?' : '';
      throw new PlatformError(`cannot open UDP port ${this.port} on ${address}: ${code}${hint}`, code, {
        cause: error,
      });
    }
  }

  private retry(entry: LocalSocket): void {
    const timer = setTimeout(() => {
      this.bind(entry).catch(() => {
        if (this.sockets.get(entry.address) === entry) this.retry(entry);
      });
    }, RETRY_MS);
    entry.cancel = () => clearTimeout(timer);
  }

  private bind(entry: LocalSocket): Promise<void> {
    const { address } = entry;
    const ipv6 = addressFamily(address) === 6;
    const socket = createSocket({
      type: ipv6 ? 'udp6' : 'udp4',
      ipv6Only: ipv6,
      // Addresses are numeric. Answering at once makes send() hand the datagram to the kernel before it returns, so that
      // the last words of a daemon that stops (its withdrawn registrations) are not lost in a queue of its own.
      lookup: (host, _options, callback) => callback(null, host, ipv6 ? 6 : 4),
    });
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind({ address, port: this.port, exclusive: true }, () => {
        if (this.sockets.get(address) !== entry) {
          socket.close();
          return resolve();
        }
        socket.removeAllListeners('error');
        // After bind these are about single datagrams (an ICMP error that came back): the socket is good still.
        socket.on('error', (error) => this.count(error));
        socket.on('message', (data, { address: remote, port }) => {
          // A link-local sender comes with its zone, which is no part of the address.
          const from = remote.split('%')[0]!;
          this.onDatagram({
            local: address,
            remote: { address: ipv6 ? canonicalAddress(from) : from, port },
            data,
          });
        });
        entry.socket = socket;
        resolve();
      });
    });
  }

  private count(error: Error): void {
    const code = (error as NodeJS.ErrnoException).code ?? 'EIO';
    this.lost[code] = (this.lost[code] ?? 0) + 1;
  }

  send({ local, remote, data }: Datagram): void {
    const socket = this.sockets.get(local)?.socket;
    if (!socket) return this.count(Object.assign(new Error(), { code: 'EADDRNOTAVAIL' }));
    try {
      socket.send(data, remote.port, remote.address, (error) => {
        if (error) this.count(error);
      });
    } catch (error) {
      this.count(error as Error);
    }
  }

  private close(address: string): void {
    const entry = this.sockets.get(address);
    this.sockets.delete(address);
    entry?.cancel();
    entry?.socket?.close();
  }

  stop(): Promise<void> {
    for (const address of [...this.sockets.keys()]) this.close(address);
    return Promise.resolve();
  }
}

/** libuv leaves out interfaces that are down or have no carrier. */
export const liveAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
