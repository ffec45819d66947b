// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ControlSockets } from '../../../src/platform/control-sockets.js';
import { PlatformError, type Datagram } from '../../../src/platform/platform.js';

/** Not 4342: a real control plane may be running on this machine. */
const PORT = 24342;
const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));

/** Resolves with the next `count` datagrams; the test's own time limit is the bound. */
function collector(count: number) {
  const got: string[] = [];
  let done: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (done = resolve));
  const onDatagram = ({ local, remote, data }: Datagram): void => {
    got.push(`${remote.address}:${remote.port} > ${local}: ${Buffer.from(data).toString()}`);
    if (got.length === count) done();
  };
  return { got, all, onDatagram };
}

describe('ControlSockets', { timeout: 10_000 }, () => {
  it('sends from the address asked for and tells which address was sent to, IPv4 and IPv6', async () => {
    const { got, all, onDatagram } = collector(3);
    const sockets = new ControlSockets();
    await sockets.start(['127.0.0.1', '127.0.0.2', '::1'], PORT, onDatagram);
    try {
      sockets.send({ local: '127.0.0.2', remote: { address: '127.0.0.1', port: PORT }, data: text('one') });
      sockets.send({ local: '127.0.0.1', remote: { address: '127.0.0.2', port: PORT }, data: text('two') });
      sockets.send({ local: '::1', remote: { address: '::1', port: PORT }, data: text('six') });
      await all;
      assert.deepEqual(got.sort(), [
        `127.0.0.1:${PORT} > 127.0.0.2: two`,
        `127.0.0.2:${PORT} > 127.0.0.1: one`,
        `::1:${PORT} > ::1: six`,
      ]);
      assert.deepEqual(sockets.lost, {});
    } finally {
      await sockets.stop();
    }
  });

  it('opens and closes addresses on update, and its last words are heard', async () => {
    const { got, all, onDatagram } = collector(1);
    const sockets = new ControlSockets();
    await sockets.start(['127.0.0.1'], PORT, onDatagram);
    try {
      await sockets.update(['127.0.0.1', '127.0.0.2']);
      sockets.send({ local: '127.0.0.1', remote: { address: '127.0.0.2', port: PORT }, data: text('bye') });
      await sockets.update(['127.0.0.2']);
      await all;
      assert.deepEqual(got, [`127.0.0.1:${PORT} > 127.0.0.2: bye`]);
      sockets.send({ local: '127.0.0.1', remote: { address: '127.0.0.2', port: PORT }, data: text('gone') });
      assert.deepEqual(sockets.lost, { EADDRNOTAVAIL: 1 });
    } finally {
      await sockets.stop();
    }
  });

  it('says which address is taken, and opens nothing then', async () => {
    const [first, second] = [new ControlSockets(), new ControlSockets()];
    await first.start(['127.0.0.2'], PORT, () => undefined);
    try {
      await assert.rejects(
        second.start(['127.0.0.1', '127.0.0.2'], PORT, () => undefined),
        (error) =>
          error instanceof PlatformError && error.code === 'EADDRINUSE' && /127\.0\.0\.2/.test(error.message),
      );
      await first.update(['127.0.0.1', '127.0.0.2']);
    } finally {
      await first.stop();
      await second.stop();
    }
  });

  it('waits for an address that is not there yet', async () => {
    const sockets = new ControlSockets();
    await sockets.start(['192.0.2.250', '127.0.0.1'], PORT, () => undefined);
    sockets.send({ local: '192.0.2.250', remote: { address: '127.0.0.1', port: PORT }, data: text('x') });
    assert.deepEqual(sockets.lost, { EADDRNOTAVAIL: 1 });
    await sockets.stop();
  });
});
