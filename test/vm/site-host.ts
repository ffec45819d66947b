// SPDX-License-Identifier: BSD-2-Clause

/**
 * A host of the site scenario, in a network namespace of its own: the MPTCP server, or the client. Reads one command a line,
 * answers with one. Its first command sets its interface up.
 *
 *   up <interface> <IPv4 prefix> <IPv6 prefix> <IPv4 router> <IPv6 router>
 *   serve <address> <port>                  MPTCP; sends back what it gets
 *   echo <address> <port> <octets>          TCP; 'same <octets>' when what comes back is what was sent
 *   counters                                of the kernel's MPTCP, those that are not 0
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { nativePart } from '../../src/native/index.js';
import { mptcpCounters } from './linux-counters.js';

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: 'pipe' });
};

function up([name = '', four = '', six = '', router4 = '', router6 = '']: string[]): string {
  // With BBR an MPTCP sender of this kernel can come to a halt on paths as quick as these.
  try {
    writeFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'reno');
  } catch {
    // As the host has it, then.
  }
  ip('link', 'set', 'lo', 'up');
  ip('link', 'set', name, 'up');
  ip('addr', 'add', four, 'dev', name);
  ip('addr', 'add', six, 'dev', name, 'nodad');
  ip('route', 'add', 'default', 'via', router4);
  ip('-6', 'route', 'add', 'default', 'via', router6);
  return 'ok';
}

function serve([address = '', port = '']: string[]): string {
  const descriptor = nativePart('descriptors').openListener(address, Number(port), true, 128);
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen({ fd: descriptor });
  return 'ok';
}

/** Octets that repeat after 251 blocks of 4 kB only: where a segment is lost or comes twice, hashes differ. */
function* octets(count: number): Generator<Buffer> {
  for (let block = 0; count > 0; block++) {
    const piece = Buffer.alloc(Math.min(4096, count), `${block % 251} `);
    count -= piece.length;
    yield piece;
  }
}

async function echo([address = '', port = '', text = '']: string[]): Promise<string> {
  const started = Date.now();
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true });
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  let back = 0;
  socket.on('data', (piece: Buffer) => {
    received.update(piece);
    back += piece.length;
  });
  const ended = new Promise<void>((resolve, reject) => {
    socket.on('end', resolve);
    socket.on('error', reject);
  });
  // Reported below, where it is waited for.
  ended.catch(() => undefined);
  await Promise.race([once(socket, 'connect'), ended]);
  for (const piece of octets(Number(text))) {
    sent.update(piece);
    if (!socket.write(piece)) await Promise.race([once(socket, 'drain'), ended]);
  }
  socket.end();
  await ended;
  const same = sent.digest('hex') === received.digest('hex');
  return `${same ? 'same' : 'different'} ${back} ${((Date.now() - started) / 1000).toFixed(1)} s`;
}

const commands: Record<string, (words: string[]) => Promise<string> | string> = {
  up,
  serve,
  echo,
  counters: () => mptcpCounters() || 'none',
};

process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [verb = '', ...words] = line.split(' ');
    void Promise.resolve()
      .then(() => commands[verb]?.(words) ?? `failed no command ${verb}`)
      .catch((error: unknown) => `failed ${(error as Error).message.replaceAll('\n', ' ')}`)
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => process.exit(0));
