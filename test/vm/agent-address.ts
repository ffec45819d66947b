// SPDX-License-Identifier: BSD-2-Clause

/** Where the agent in the guest is reached: QEMU forwards a port of the host's loopback interface. */
import { createServer, type AddressInfo } from 'node:net';

export const AGENT = { address: '10.0.2.15', port: 4343 };

/** In a namespace of its own nobody else listens on anything: any port does there, and this one is free here at least. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
