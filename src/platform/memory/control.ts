// SPDX-License-Identifier: BSD-2-Clause

/** LISP control datagrams on the simulated network. */
import type { ControlTransport, Datagram } from '../platform.js';
import type { SimulatedNetwork } from './network.js';

export class MemoryControl implements ControlTransport {
  private readonly ends = new Map<string, () => void>();
  private port = 0;
  private onDatagram: (datagram: Datagram) => void = () => undefined;

  constructor(private readonly network: SimulatedNetwork) {}

  start(addresses: string[], port: number, onDatagram: (datagram: Datagram) => void): Promise<void> {
    this.port = port;
    this.onDatagram = onDatagram;
    return this.update(addresses);
  }
  update(addresses: string[]): Promise<void> {
    for (const [address, end] of this.ends) {
      if (addresses.includes(address)) continue;
      end();
      this.ends.delete(address);
    }
    for (const address of addresses) {
      if (this.ends.has(address)) continue;
      this.ends.set(
        address,
        this.network.attach(address, this.port, ({ from, data }) =>
          this.onDatagram({ local: address, remote: from, data }),
        ),
      );
    }
    return Promise.resolve();
  }
  send({ local, remote, data }: Datagram): void {
    if (!this.ends.has(local)) return;
    this.network.send({ from: { address: local, port: this.port }, to: remote, data });
  }
  stop(): Promise<void> {
    return this.update([]);
  }
}
