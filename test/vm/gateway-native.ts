// SPDX-License-Identifier: BSD-2-Clause

/**
 * What gateway.ts does on the host, in a guest with Node.js: the daemon with the addon and this kernel under it. Takes a word for the
 * daemon from each connection to a socket and answers with one line.
 *
 *   guest/native.sh -- nc -U -- gateway-native.js (jail xa) -- amptcp.node -- pf, tproxy(4), lisp(4)
 *
 *   node gateway-native.js DIRECTORY      the socket is DIRECTORY/driver
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { loadNative } from '../../src/native/index.js';
import { gatewayDaemon } from './gateway-daemon.js';

const [, , directory = '.'] = process.argv;
let over: 'stop' | 'kill' | undefined;
const daemon = gatewayDaemon(
  directory,
  () => ({ native: loadNative(), trace: [], close: () => undefined }),
  (how) => (over = how),
);
const server = createServer((socket) => {
  createInterface({ input: socket }).once('line', (words) => {
    void daemon.command(words).then(async (answer) => {
      socket.end(`${answer}\n`);
      await once(socket, 'close');
      if (over === 'kill') process.kill(process.pid, 'SIGKILL');
      // Nothing of the daemon's is to keep the process from here on.
      if (over === 'stop') server.close();
    });
  });
});
server.listen(join(directory, 'driver'));
