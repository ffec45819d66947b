// SPDX-License-Identifier: BSD-2-Clause

/**
 * What is on the wire of an MPTCP scenario, recorded and judged by tshark. For the programs at the Linux end, which answer these lines:
 *
 *   capture                 records from here on
 *   captured <filter>       ends it (the first time); answers how many of the recorded packets the display filter matches
 *   wire                    the same, then checks the data against its mappings, see judge(): segments, mappings, and what is wrong
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Headers only: Ethernet, IPv6 and TCP with all its options. */
const SNAP = 128;
/** Payload is pseudo-random, so nothing may be read into it. */
const READING = ['-d', 'tcp.port==1-65535,data', '-o', 'tcp.desegment_tcp_streams:FALSE'];
const FIELDS = [
  ...['tcp.stream', 'ip.src', 'ipv6.src', 'tcp.seq', 'tcp.len', 'tcp.options.mptcp.subflowseqno'],
  ...['tcp.options.mptcp.rawdataseqno', 'tcp.options.mptcp.datalvllen', 'tcp.options.mptcp.datafin.flag'],
  'tcp.options.mptcp.subtype',
];

/** Octets [first, end) of a subflow; what their data sequence numbers are more, modulo 2^32; undefined: not told (MP_CAPABLE). */
interface Mapping {
  first: number;
  end: number;
  difference: number | undefined;
}

interface Segment {
  first: number;
  end: number;
  own: Mapping | undefined;
}

/** One direction of a subflow. */
export interface Flow {
  segments: Segment[];
  mappings: Mapping[];
}

/**
 * Every data segment has to lie within the mapping it carries, if it carries one, and within those of its subflow in any case; two
 * mappings of one octet have to agree. Subflows without any mapping are plain TCP's. Returns what is wrong.
 */
export function judge(flows: Map<string, Flow>): string[] {
  const wrong: string[] = [];
  for (const [name, { segments, mappings }] of flows) {
    if (mappings.length === 0) continue;
    for (const { first, end, own } of segments) {
      if (own && (first < own.first || end > own.end)) {
        wrong.push(`${name}: [${first},${end}) outside its mapping [${own.first},${own.end})`);
      }
    }
    mappings.sort((a, b) => a.first - b.first || a.end - b.end);
    // Runs of octets that are mapped, with the mapping that reaches furthest to compare the next one with.
    const runs: { first: number; end: number }[] = [];
    let furthest: Mapping | undefined;
    for (const mapping of mappings) {
      if (
        furthest &&
        mapping.first < furthest.end &&
        mapping.difference !== undefined &&
        furthest.difference !== undefined &&
        mapping.difference !== furthest.difference
      ) {
        wrong.push(`${name}: [${mapping.first},${mapping.end}) is mapped twice`);
      }
      const run = runs.at(-1);
      if (run && mapping.first <= run.end) run.end = Math.max(run.end, mapping.end);
      else runs.push({ first: mapping.first, end: mapping.end });
      if (!furthest || mapping.end > furthest.end) furthest = mapping;
    }
    for (const { first, end } of segments) {
      let [low, high] = [0, runs.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (runs[middle]!.end < end) low = middle + 1;
        else high = middle;
      }
      const run = runs[low];
      if (!run || first < run.first) wrong.push(`${name}: [${first},${end}) without a mapping`);
    }
  }
  return wrong;
}

/** A line of tshark's with FIELDS. */
export function readLine(line: string, flows: Map<string, Flow>): void {
  const [stream, v4, v6, seq, len, ssn = '', dsn = '', dll = '', fin, subtype = ''] = line
    .split('\t')
    .map((field) => field.split(',')[0]);
  const octets = Number(len);
  const name = `${stream ?? ''} ${v4 || (v6 ?? '')}`;
  let flow = flows.get(name);
  if (!flow) flows.set(name, (flow = { segments: [], mappings: [] }));
  let own: Mapping | undefined;
  if (dll !== '') {
    // 0: all that follows. A DATA_FIN counts as an octet that no segment has.
    const length = dll === '0' ? Infinity : Number(dll) - (fin === '1' || fin === 'True' ? 1 : 0);
    if (ssn !== '' && ssn !== '0') {
      const difference = Number((BigInt(dsn) - BigInt(ssn)) & 0xffffffffn);
      own = { first: Number(ssn), end: Number(ssn) + length, difference };
    } else if (subtype === '0' && length > 0) {
      own = { first: 1, end: 1 + length, difference: undefined };
    }
    if (own && own.end > own.first) flow.mappings.push(own);
  }
  if (octets > 0) flow.segments.push({ first: Number(seq), end: Number(seq) + octets, own });
}

export class Wire {
  private readonly directory = mkdtempSync(join(tmpdir(), 'amptcp-wire-'));
  private readonly file = join(this.directory, 'wire.pcap');
  private recorder: ChildProcess | undefined;
  private lost = '';

  constructor(private readonly interfaceName: string) {}

  /** Undefined: not one of these. */
  answer(line: string): Promise<string> | undefined {
    const [verb, ...words] = line.split(' ');
    switch (verb) {
      case 'capture':
        return this.capture().then(() => 'done');
      case 'captured':
        return this.captured(words.join(' '));
      case 'wire':
        return this.wire();
      default:
        return undefined;
    }
  }

  close(): void {
    this.recorder?.kill('SIGINT');
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async capture(): Promise<void> {
    await this.recorded();
    rmSync(this.file, { force: true });
    const child = spawn(
      'dumpcap',
      ['-i', this.interfaceName, '-s', String(SNAP), '-B', '64', '-w', this.file, '-q'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.recorder = child;
    this.lost = '';
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.stderr.on('data', (data: Buffer) => {
        const text = data.toString();
        // The file's name comes once it is open and packets are being taken.
        if (text.includes('File:')) resolve();
        const dropped = /packets received\/dropped on interface .*: \d+\/(\d+)/.exec(text)?.[1];
        if (dropped !== undefined && dropped !== '0') this.lost = ` lost ${dropped}`;
      });
      child.on('close', () => {
        reject(new Error('dumpcap ended'));
      });
    });
  }

  private async recorded(): Promise<void> {
    const child = this.recorder;
    if (!child) return;
    this.recorder = undefined;
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGINT');
    await ended;
  }

  /** Reads the file by tshark, line by line: a hundred megabytes make hundreds of thousands. */
  private async read(args: string[], take: (line: string) => void): Promise<void> {
    await this.recorded();
    const child = spawn('tshark', ['-n', ...READING, '-r', this.file, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let errors = '';
    child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
    const ended = new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    for await (const line of createInterface({ input: child.stdout })) if (line !== '') take(line);
    if ((await ended) !== 0) throw new Error(`tshark: ${errors.trim()}`);
  }

  private async captured(filter: string): Promise<string> {
    let count = 0;
    let first = '';
    await this.read(['-Y', filter], (line) => {
      if (count++ === 0) first = ` ${line.trim()}`;
    });
    return `${count}${first}`;
  }

  private async wire(): Promise<string> {
    const flows = new Map<string, Flow>();
    await this.read(
      [
        ...['-Y', 'tcp.len > 0 || tcp.options.mptcp.datalvllen', '-T', 'fields', '-E', 'occurrence=a'],
        ...FIELDS.flatMap((field) => ['-e', field]),
      ],
      (line) => {
        readLine(line, flows);
      },
    );
    let [segments, mappings] = [0, 0];
    for (const flow of flows.values()) {
      segments += flow.segments.length;
      mappings += flow.mappings.length;
    }
    const wrong = judge(flows);
    return `segments ${segments} mappings ${mappings} wrong ${wrong.length}${this.lost} ${wrong[0] ?? ''}`;
  }
}
