// SPDX-License-Identifier: BSD-2-Clause

/**
 * The plain HTTP server of the lab.
 *
 *   node http-server.js PORT[,PORT...]
 *
 *   GET /bytes/SIZE?id=ID    SIZE pseudo-random octets, the same for the same ID
 *   PUT /upload              answers {"bytes","sha256"} of what arrived
 *   GET /digest?id=ID        {"bytes","sha256"} of what /bytes sent for that ID
 *
 * It listens with whatever kind of socket it is given: preloaded with mptcpize.so, MPTCP.
 */
import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { pseudoRandom } from './pseudo-random.js';

const sent = new Map<string, { bytes: number; sha256: string }>();

function answer(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

function send(response: ServerResponse, size: number, id: string): void {
  const hash = createHash('sha256');
  const source = pseudoRandom(id, size);
  let bytes = 0;
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
  const push = (): void => {
    for (;;) {
      const next = source.next();
      if (next.done) {
        sent.set(id, { bytes, sha256: hash.digest('hex') });
        response.end();
        return;
      }
      hash.update(next.value);
      bytes += next.value.length;
      if (!response.write(next.value)) {
        response.once('drain', push);
        return;
      }
    }
  };
  push();
}

function handle(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://server');
  const size = /^\/bytes\/(\d{1,12})$/.exec(url.pathname)?.[1];
  const id = url.searchParams.get('id') ?? '';
  if (request.method === 'GET' && size !== undefined) send(response, Number(size), id);
  else if (request.method === 'GET' && url.pathname === '/digest') {
    const known = sent.get(id);
    answer(response, known ? 200 : 404, known ?? { error: 'nothing sent under that id' });
  } else if (request.method === 'PUT' && url.pathname === '/upload') {
    const hash = createHash('sha256');
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
    });
    request.on('end', () => answer(response, 200, { bytes, sha256: hash.digest('hex') }));
  } else answer(response, 404, { error: 'no such page' });
}

const ports = (process.argv[2] ?? '80').split(',').map(Number);
for (const port of ports) {
  const server = createServer(handle);
  server.keepAliveTimeout = 60_000;
  server.requestTimeout = 0;
  server.listen({ port, host: '::', backlog: 4096 }, () => process.stdout.write(`listening ${port}\n`));
  server.on('error', (error) => {
    process.stderr.write(`http-server: port ${port}: ${error.message}\n`);
    process.exit(1);
  });
}
