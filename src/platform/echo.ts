// SPDX-License-Identifier: BSD-2-Clause

/**
 * Which size gets through between two RLOCs, tried with ICMP echo requests that no router may cut (RFC 1191, RFC 8201): by
 * the system's own ping, which has the privilege. What is decided here is which sizes are asked for and what the answers mean.
 *
 *   the smallest -- silent --> unknown: this RLOC answers no echo, or ICMP is filtered
 *   the largest that matters -- answered --> that much gets through
 *   between them, halving; where a router names its MTU, that is tried next
 */
import { spawn } from 'node:child_process';
import type { Path } from '../lisp/mapping.js';
import type { PathMtu } from './platform.js';

/** What became of one echo request. `mtu`: somebody said what would fit. */
export type EchoOutcome =
  | { type: 'answered' }
  | { type: 'too-big'; mtu?: number }
  | { type: 'silent' }
  /** It could not be tried at all. */
  | { type: 'failed'; reason: string };

/** IP header and ICMP header. */
const HEADERS = { 4: 28, 6: 48 } as const;
/** Every link takes this much (RFC 791: 68 is the law, but none below 576 is met; RFC 8200 section 5). */
const SMALLEST = { 4: 576, 6: 1280 } as const;
/** MTUs one meets are multiples of four: headers of links and tunnels are. */
const GRAIN = 4;
const TIMEOUT_SECONDS = 1;
/** Of a lost packet, a filter and a black hole only repetition tells the first. */
const REPEAT_SILENT = 2;

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

/**
 * The largest outer IP packet up to `wanted` octets that gets there and back.
 * Takes some ten requests at most, most of them only where a router swallows what is too big.
 */
export async function searchMtu(
  family: 4 | 6,
  wanted: number,
  echo: (octets: number) => Promise<EchoOutcome>,
): Promise<PathMtu> {
  const patient = async (octets: number): Promise<EchoOutcome> => {
    let outcome = await echo(octets);
    for (let n = 1; n < REPEAT_SILENT && outcome.type === 'silent'; n++) outcome = await echo(octets);
    return outcome;
  };
  const small = Math.min(SMALLEST[family], wanted);
  const first = await patient(small);
  if (first.type === 'failed') return { state: 'unknown', reason: first.reason };
  if (first.type === 'silent') return { state: 'unknown', reason: 'no answer to ICMP echo' };
  if (first.type === 'too-big')
    return { state: 'unknown', reason: `not even a packet of ${small} octets fits` };
  let outcome = await patient(wanted);
  if (outcome.type === 'answered') return { state: 'measured', mtu: wanted, blackHole: false };
  let [fits, tooBig] = [small, wanted];
  for (;;) {
    if (outcome.type === 'failed') return { state: 'unknown', reason: outcome.reason };
    const named: number = outcome.type === 'too-big' ? (outcome.mtu ?? 0) : 0;
    const believed = named > fits && named < tooBig;
    const swallowed = outcome.type === 'silent';
    const next = believed ? named : Math.floor((fits + tooBig) / 2 / GRAIN) * GRAIN;
    if (next <= fits) return { state: 'measured', mtu: fits, blackHole: swallowed };
    const tried = await patient(next);
    if (tried.type === 'answered') {
      // What a router has named and the way has confirmed needs no closer look.
      if (believed) return { state: 'measured', mtu: next, blackHole: false };
      fits = next;
    } else {
      tooBig = next;
      outcome = tried;
    }
  }
}

/** The command that sends one echo request of `octets` in all, which nobody may cut. */
export function pingCommand(system: 'linux' | 'freebsd', { local, remote }: Path, octets: number): string[] {
  const family = familyOf(remote);
  const size = String(octets - HEADERS[family]);
  if (system === 'linux')
    return [
      ...['ping', `-${family}`, '-n', '-c', '1', '-W', String(TIMEOUT_SECONDS)],
      ...['-M', 'do', '-s', size, '-I', local, remote],
    ];
  // Without -u an IPv6 packet is cut to 1280 octets before it leaves, whatever -D says.
  const whole = family === 4 ? ['-D'] : ['-u', '-D'];
  const wait = ['-W', String(TIMEOUT_SECONDS * 1000)];
  return ['ping', `-${family}`, '-n', '-c', '1', ...wait, ...whole, '-s', size, '-S', local, remote];
}

/** What ping's exit status and words mean. */
export function pingOutcome(status: number | null, said: string): EchoOutcome {
  if (status === 0) return { type: 'answered' };
  const big = /message too long|frag(?:mentation)? needed|packet too big|new path mtu/i.test(said);
  if (big) {
    const mtu = Number(/mtu\s*[=:(]?\s*(\d+)/i.exec(said)?.[1]);
    return { type: 'too-big', ...(mtu > 0 && { mtu }) };
  }
  // 1 is Linux's and 2 FreeBSD's word for 'nothing came back'; both print the statistics then.
  if (/100(?:\.0)?% packet loss/.test(said)) return { type: 'silent' };
  const reason = said.trim().split('\n')[0] ?? '';
  return { type: 'failed', reason: reason === '' ? `ping ended with status ${String(status)}` : reason };
}

function ping(command: string[]): Promise<EchoOutcome> {
  return new Promise((resolve) => {
    let said = '';
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      // What it says is read.
      env: {
        ...process.env,
        LC_ALL: 'C',
        PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`,
      },
      timeout: (TIMEOUT_SECONDS + 4) * 1000,
    });
    const add = (data: Buffer): void => void (said += said.length < 4096 ? data.toString() : '');
    child.stdout.on('data', add);
    child.stderr.on('data', add);
    child.on('error', ({ message }) => resolve({ type: 'failed', reason: `ping cannot be run: ${message}` }));
    child.on('close', (status) => resolve(pingOutcome(status, said)));
  });
}

/** The MTU of the way from a local RLOC to a remote one, as outer IP packets of up to `wanted` octets find it. */
export const measurePathMtu =
  (system: 'linux' | 'freebsd') =>
  (path: Path, wanted: number): Promise<PathMtu> =>
    searchMtu(familyOf(path.remote), wanted, (octets) => ping(pingCommand(system, path, octets)));
