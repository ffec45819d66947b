// SPDX-License-Identifier: BSD-2-Clause

/**
 * The Linux end of the MPTCP scenario: servers that send back what they get, over MPTCP and over TCP. Runs in a network namespace of its
 * own; reads commands on standard input, one a line, and answers each with one line.
 *
 *   counters                the kernel's MPTCP counters that are not 0, as name=value
 *   sysctl <name> <value>   of net.mptcp
 *   reset                   closes the oldest connection with MP_FASTCLOSE
 *   sockets                 connections open now
 *   announce <address>      an ADD_ADDR to every peer, also those to come
 *   withdraw                and its REMOVE_ADDR
 *   capture, captured <filter>, wire   see wire.ts
 *   hash <octets>           SHA-256 of what HTTP serves under /<octets>
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { nativePart } from '../../src/native/index.js';
import { mptcpCounters } from './linux-counters.js';
import { Wire } from './wire.js';

export interface MptcpSite {
  addresses: string[];
  ports: { mptcp: number; tcp: number; http: number; sink: number };
}

const site = JSON.parse(process.argv[2] ?? '') as MptcpSite;
const { openListener } = nativePart('descriptors');
const open = new Set<Socket>();

function mptcp(...args: string[]): void {
  execFileSync('ip', ['mptcp', ...args], { stdio: 'pipe' });
}
mptcp('limits', 'set', 'subflows', '8', 'add_addr_accepted', '8');

for (const address of site.addresses) {
  for (const mptcp of [true, false]) {
    const descriptor = openListener(address, mptcp ? site.ports.mptcp : site.ports.tcp, mptcp, 128);
    createServer({ allowHalfOpen: true }, (socket) => {
      open.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => open.delete(socket));
      socket.pipe(socket);
    }).listen({ fd: descriptor });
  }
}

// Takes everything and answers with its SHA-256.
for (const address of site.addresses) {
  createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256');
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
    socket.on('data', (chunk) => hash.update(chunk));
    socket.on('end', () => socket.end(hash.digest('hex')));
  }).listen({ fd: openListener(address, site.ports.sink, true, 128) });
}

/** So many octets, the same ones every time. */
function content(octets: number): Buffer {
  const block = createHash('sha512').update('amptcp').digest();
  return Buffer.alloc(octets, block);
}

const wire = new Wire('vm0');

async function answer(line: string): Promise<string> {
  const [verb, ...words] = line.split(' ');
  switch (verb) {
    case 'counters':
      return mptcpCounters() || 'none';
    case 'sysctl':
      writeFileSync(`/proc/sys/net/mptcp/${words[0] ?? ''}`, words[1] ?? '');
      return 'done';
    case 'reset': {
      const [first] = open;
      first?.resetAndDestroy();
      return first ? 'done' : 'failed no connection';
    }
    case 'announce':
      // Without an id: the kernel gave the address one when the first subflow came to it.
      mptcp('endpoint', 'add', words[0] ?? '', 'signal');
      return 'done';
    case 'withdraw':
      mptcp('endpoint', 'flush');
      return 'done';
    case 'sockets':
      return String(open.size);
    case 'hash':
      return createHash('sha256')
        .update(content(Number(words[0])))
        .digest('hex');
    default:
      return (await wire.answer(line)) ?? `failed unknown command ${verb ?? ''}`;
  }
}

createHttpServer((request, response) => response.end(content(Number(request.url?.slice(1))))).listen({
  fd: openListener(site.addresses[0]!, site.ports.http, true, 128),
});
process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    void answer(line)
      .catch((error: unknown) => `failed ${(error as Error).message.trim().replaceAll('\n', ' ')}`)
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    wire.close();
    process.exit(0);
  });
