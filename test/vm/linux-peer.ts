// SPDX-License-Identifier: BSD-2-Clause

/**
 * The Linux end of the interoperation scenario: this product's data plane for Linux with fixed mappings, a server that sends
 * back what it gets, and a client that checks what comes back. Runs in a network namespace of its own; reads commands on
 * standard input, one a line, and answers each with one line.
 *
 *   map 4 | map 6                          the guest's EIDs are reached over RLOCs of this family
 *   connect <address> <port> <octets>      sends that many random octets and compares what returns
 *   stats                                  packets encapsulated and decapsulated, drops
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { selectPlatform } from '../../src/platform/select.js';
import type { PlaneOptions } from '../../src/platform/platform.js';

export interface PeerSite {
  options: PlaneOptions;
  /** EIDs of the guest's, and its RLOCs by family. */
  peer: { eids: string[]; rlocs: { 4: string[]; 6: string[] } };
  /** Addresses served and connected from. */
  hosts: { 4: string; 6: string };
  port: number;
}

const site = JSON.parse(process.argv[2] ?? '') as PeerSite;
const { plane, configure } = await selectPlatform({
  plane: 'user',
  warn: (message) => process.stderr.write(`${message}\n`),
});
await configure?.({
  rlocs: site.options.localRlocs.map((address) => ({ address })),
  localPrefixes: [],
});
await plane.start(site.options, () => undefined);

function map(family: 4 | 6): void {
  for (const eid of site.peer.eids) {
    plane.setMapping({
      iid: site.options.iid,
      eid,
      locators: site.peer.rlocs[family].map((rloc) => ({ rloc, priority: 1, weight: 50, reachable: true })),
      action: 'no-action',
      ttlSeconds: Infinity,
      source: 'static',
    });
  }
}

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

/** Sends `octets` random octets and resolves to a hash when the same have come back. */
function exchange(address: string, port: number, octets: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = createHash('sha256');
    const received = createHash('sha256');
    let left = octets;
    let missing = octets;
    const socket = connect({ host: address, port, localAddress: site.hosts[familyOf(address)] });
    socket.setTimeout(60_000, () => socket.destroy(new Error(`still, ${missing} octets missing`)));
    const fill = (): void => {
      while (left > 0) {
        const chunk = randomBytes(Math.min(left, 16_384));
        left -= chunk.length;
        sent.update(chunk);
        if (!socket.write(chunk)) return;
      }
    };
    socket.on('connect', fill);
    socket.on('drain', fill);
    socket.on('error', reject);
    socket.on('data', (data) => {
      received.update(data);
      missing -= data.length;
      if (missing <= 0) socket.end();
    });
    socket.on('close', () => {
      const hash = sent.digest('hex');
      if (missing === 0 && received.digest('hex') === hash) resolve(hash);
      else reject(new Error(`${missing} octets missing, or not the same`));
    });
  });
}

async function answer(line: string): Promise<string> {
  const [verb, ...words] = line.split(' ');
  switch (verb) {
    case 'map':
      map(words[0] === '6' ? 6 : 4);
      return 'done';
    case 'connect':
      return `same ${await exchange(words[0] ?? '', Number(words[1]), Number(words[2]))}`;
    case 'stats': {
      const { encapsulated, decapsulated, drops } = plane.stats();
      return `encapsulated ${encapsulated} decapsulated ${decapsulated} drops ${JSON.stringify(drops)}`;
    }
    default:
      return `failed unknown command ${verb ?? ''}`;
  }
}

for (const host of [site.hosts[4], site.hosts[6]]) {
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen({ host, port: site.port });
}
map(4);
process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    void answer(line)
      .catch((error: unknown) => `failed ${(error as Error).message}`)
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    void plane.stop().finally(() => process.exit(0));
  });
