// SPDX-License-Identifier: BSD-2-Clause

/**
 * The Linux end of the scenarios in which FreeBSD is the MPTCP server, or a box is on the way. Runs in a network namespace of its own;
 * reads commands on standard input, one a line, and answers each with one line. It also serves, as mptcp-peer.ts does.
 *
 *   exchange <source> <address> <port> <octets> [subflows] [tcp]
 *                           what `flow send` does: so many octets each way, hashes compared at both ends; waits for that many
 *                           subflows before the bulk of it. Answers with the hash, subflows and seconds.
 *   many <source> <address> <port> <octets> <count>   one exchange after the other
 *   endpoints <address>...  addresses further subflows begin at (none: no further ones)
 *   counters                the kernel's MPTCP counters that are not 0, as name=value
 *   sysctl <name> <value>   of net
 *   capture, captured <filter>, wire   see wire.ts
 *   patience <seconds>      until what stands still is given up (60)
 *   box <command>...        to the middlebox, see middlebox.c
 *   hostile <command>...    to the peer that keeps to no rule, see hostile.c
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { nativePart } from '../../src/native/index.js';
import { mptcpCounters } from './linux-counters.js';
import { Wire } from './wire.js';

interface Site {
  addresses: string[];
  ports: { mptcp: number; tcp: number };
  /** Programs and their arguments: a middlebox, a hostile peer. */
  box?: [string, ...string[]];
  hostile?: [string, ...string[]];
}

const site = JSON.parse(process.argv[2] ?? '') as Site;
let patienceMs = 60_000;
const native = nativePart('mptcp');
const connecting = new Map<number, (error?: string) => void>();
native.start(
  (batch) => {
    for (const { descriptor, error } of batch) {
      connecting.get(descriptor)?.(error);
      connecting.delete(descriptor);
    }
  },
  () => undefined,
);

/** The streams of programs/flow.c: xorshift, by seed. */
function stream(seed: bigint, octets: number): Buffer {
  const mask = (1n << 64n) - 1n;
  const x = (seed * 0x9e3779b97f4a7c15n + 1n) & mask;
  const data = Buffer.allocUnsafe(octets);
  // Two halves of 32 bits: numbers are quicker than BigInts.
  let high = Number(x >> 32n) | 0;
  let low = Number(x & 0xffffffffn) | 0;
  for (let i = 0; i < octets; i++) {
    let h = high ^ ((high << 13) | (low >>> 19));
    let l = low ^ (low << 13);
    l ^= (l >>> 7) | (h << 25);
    h ^= h >>> 7;
    // x ^= x << 17
    h ^= (h << 17) | (l >>> 15);
    l ^= l << 17;
    high = h;
    low = l;
    data[i] = (low >>> 24) & 0xff;
  }
  return data;
}

const streams = new Map<string, Buffer>();
function cached(seed: number, octets: number): Buffer {
  const name = `${seed} ${octets}`;
  let data = streams.get(name);
  if (!data) {
    data = stream(BigInt(seed), octets);
    streams.clear();
    streams.set(name, data);
  }
  return data;
}

async function open(source: string, address: string, port: number, mptcp: boolean): Promise<number> {
  const { descriptor } = native.prepare({
    address,
    port,
    mptcp,
    transparent: false,
    localAddress: source,
    localPort: 0,
  });
  const outcome = new Promise<string | undefined>((resolve) => connecting.set(descriptor, resolve));
  if (native.connect(descriptor, address, port, patienceMs)) connecting.get(descriptor)?.();
  const error = await outcome;
  if (error !== undefined) throw new Error(`connect: ${error}`);
  return descriptor;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + patienceMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what}: not within ${patienceMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** `flow send` in TypeScript: eight octets of length, both streams at once, the server's verdict. */
async function exchange(
  source: string,
  address: string,
  port: number,
  octets: number,
  subflows: number,
  mptcp: boolean,
): Promise<string> {
  const out = cached(1, octets);
  const expected = createHash('sha256').update(stream(2n, octets)).digest('hex');
  const joins = (): number => Number(/MPJoinSynAckRx=(\d+)/.exec(mptcpCounters())?.[1] ?? 0);
  const before = joins();
  const descriptor = await open(source, address, port, mptcp);
  const started = Date.now();
  const socket = new Socket({ fd: descriptor, allowHalfOpen: true });
  socket.setTimeout(patienceMs, () => socket.destroy(new Error('still')));
  const received = createHash('sha256');
  let missing = octets;
  let verdict: string | undefined;
  const done = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => {
      if (verdict === undefined) reject(new Error(`closed with ${missing} octets missing`));
    });
    socket.on('data', (data) => {
      const part = data.subarray(0, missing);
      received.update(part);
      missing -= part.length;
      if (data.length > part.length) {
        verdict = String.fromCharCode(data[part.length] ?? 0);
        resolve();
      }
    });
  });
  done.catch(() => undefined);
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(BigInt(octets));
  const first = Math.min(octets, 100);
  socket.write(Buffer.concat([head, out.subarray(0, first)]));
  let have = 0;
  if (subflows > 1) {
    await until(`${subflows} subflows`, () => {
      // What the socket itself tells counts those on their way, too.
      have = joins() - before;
      return have >= subflows - 1;
    });
  }
  socket.write(out.subarray(first));
  await done;
  const info = native.info(descriptor);
  socket.destroy();
  if (verdict !== 'y') throw new Error('the server received something else');
  if (received.digest('hex') !== expected) throw new Error('something else came back');
  const kind = !mptcp ? 'tcp' : info && !info.fallback ? 'mptcp' : 'fallback';
  return `same ${kind} subflows ${have + 1} seconds ${((Date.now() - started) / 1000).toFixed(2)}`;
}

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

const wire = new Wire('vm0');

/** A program beside this one that answers a line with a line, once it has said that it is ready. */
class Helper {
  private readonly child: ReturnType<typeof spawn> | undefined;
  private readonly waiting: ((line: string) => void)[] = [];
  readonly ready: Promise<unknown>;

  constructor(command: [string, ...string[]] | undefined) {
    this.ready = new Promise<string>((resolve) => this.waiting.push(resolve));
    if (command === undefined) return;
    const [program, ...parameters] = command;
    this.child = spawn(program, parameters, { stdio: ['pipe', 'pipe', 'inherit'] });
    const tell = (line: string): void => this.waiting.shift()?.(line);
    if (this.child.stdout) createInterface({ input: this.child.stdout }).on('line', tell);
    this.child.on('close', () => {
      while (this.waiting.length > 0) tell('failed it has ended');
    });
  }

  async ask(line: string): Promise<string> {
    if (!this.child) return 'failed there is none';
    await this.ready;
    this.child.stdin?.write(`${line}\n`);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  close(): void {
    this.child?.stdin?.end();
  }
}

const box = new Helper(site.box);
const hostile = new Helper(site.hostile);

async function answer(line: string): Promise<string> {
  const [verb, ...words] = line.split(' ');
  const [source = '', address = '', port = '', octets = ''] = words;
  switch (verb) {
    case 'exchange': {
      const subflows = Number(words[4] ?? '1');
      return exchange(source, address, Number(port), Number(octets), subflows, !words.includes('tcp'));
    }
    case 'many': {
      for (let i = 0; i < Number(words[4]); i++) {
        await exchange(source, address, Number(port), Number(octets), 1, true);
      }
      return 'done';
    }
    case 'endpoints':
      run('ip', 'mptcp', 'endpoint', 'flush');
      run('ip', 'mptcp', 'limits', 'set', 'subflow', '8', 'add_addr_accepted', '8');
      for (const endpoint of words) run('ip', 'mptcp', 'endpoint', 'add', endpoint, 'dev', 'vm0', 'subflow');
      return 'done';
    case 'counters':
      return mptcpCounters() || 'none';
    case 'sysctl':
      writeFileSync(`/proc/sys/net/${(words[0] ?? '').replaceAll('.', '/')}`, words[1] ?? '');
      return 'done';
    case 'patience':
      patienceMs = Number(words[0]) * 1000;
      return 'done';
    case 'box':
      return box.ask(words.join(' '));
    case 'hostile':
      return hostile.ask(words.join(' '));
    default:
      return wire.answer(line) ?? `failed unknown command ${verb ?? ''}`;
  }
}

// BBR paces by round trips of microseconds and probes for them by nearly stopping for 200 ms: on a wire like this it tells nothing.
writeFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'reno');
for (const address of site.addresses) {
  for (const mptcp of [true, false]) {
    const descriptor = nativePart('descriptors').openListener(
      address,
      mptcp ? site.ports.mptcp : site.ports.tcp,
      mptcp,
      128,
    );
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    }).listen({ fd: descriptor });
  }
}
if (site.box) await box.ready;
process.stdout.write('ready\n');
createInterface({ input: process.stdin })
  .on('line', (line) => {
    void answer(line)
      .catch((error: unknown) => `failed ${(error as Error).message.replaceAll('\n', ' ')}`)
      .then((text) => process.stdout.write(`${text}\n`));
  })
  .on('close', () => {
    wire.close();
    box.close();
    hostile.close();
    process.exit(0);
  });
