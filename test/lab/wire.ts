// SPDX-License-Identifier: BSD-2-Clause

/** The wire as tshark's dissectors see it. */
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { finished, run, waitFor } from '../../src/lab/process.js';
import type { Lab } from '../../src/lab/lab.js';
import { PROVIDER_DEVICE, provider } from '../../src/lab/topology.js';

/** Enough for the longest headers: Ethernet, IPv6, UDP, LISP, IPv6, TCP with options, and the start of the data. */
const SNAP_LENGTH = 320;

export interface Capture {
  /** Ends it and yields the files, one a provider. */
  stop(): Promise<CaptureFile[]>;
}

export interface CaptureFile {
  provider: number;
  path: string;
}

/** Captures LISP on every provider's link to the gateway. */
export async function capture(lab: Lab, name: string): Promise<Capture> {
  const running: { child: ChildProcess; host: string; file: CaptureFile }[] = [];
  for (let index = 1; index <= lab.rlocs; index++) {
    const host = provider(index);
    const path = join(lab.directory, host, `${name}.pcapng`);
    const child = lab.spawn(host, name, [
      'dumpcap', '-q', '-i', PROVIDER_DEVICE.gateway, '-s', String(SNAP_LENGTH), '-B', '64', '-w', path, '-f', 'udp port 4341 or udp port 4342',
    ]); // prettier-ignore
    running.push({ child, host, file: { provider: index, path } });
    await waitFor(`a capture in ${host}`, () => lab.log(host, name).includes('File:'));
  }
  return {
    stop: async () => {
      for (const { child, host } of running) {
        const over = finished(child);
        await lab.signal(host, name, 'INT');
        await over;
      }
      return running.map(({ file }) => file);
    },
  };
}

const FIELDS = [
  'frame.number', 'frame.protocols', '_ws.malformed', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'tcp.srcport', 'tcp.dstport',
  'tcp.flags.syn', 'tcp.flags.ack', 'tcp.len', 'tcp.options.mptcp.subtype',
] as const; // prettier-ignore

type Packet = Record<(typeof FIELDS)[number], string>;

/**
 * One record a packet. What the TCP connections carry is not for judgement (it is cut off, and looks like anything), so no
 * dissector is let at it.
 */
async function tshark(file: string): Promise<Packet[]> {
  const options = ['-d', 'tcp.port==1-65535,data', '-o', 'tcp.desegment_tcp_streams:FALSE'];
  const format = ['-T', 'fields', '-E', 'occurrence=a', '-E', 'aggregator=,', '-E', 'separator=/t'];
  const { stdout } = await run(
    'tshark',
    ['-n', '-r', file, ...options, ...format, ...FIELDS.flatMap((field) => ['-e', field])],
    { timeoutMs: 120_000 },
  );
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      return Object.fromEntries(FIELDS.map((field, index) => [field, values[index] ?? ''])) as Packet;
    });
}

export interface DissectedSubflow {
  /** 'address port address port' of the inner packet with the SYN. */
  flow: string;
  join: boolean;
  /** Outer source and destination of its SYN. */
  outer: string;
  provider: number;
}

export interface Dissection {
  /** Packets tshark calls malformed, 'provider: number protocol'. */
  malformed: string[];
  subflows: DissectedSubflow[];
  /** Outer pairs (either direction) by inner flow (either direction). */
  pairs: Map<string, Set<string>>;
  data: number;
  control: number;
  /** Further subflows on which the side that opened them sent data before it had made them regular ones by MP_PRIO. */
  hasty: string[];
}

const MP_JOIN = '1';
const MP_PRIO = '5';

const sorted = (one: string, other: string): string => (one < other ? `${one} ${other}` : `${other} ${one}`);

const isSet = (flag: string): boolean => flag === '1' || flag === 'True';

/** `family` is that of EIDs and RLOCs: a dissected packet has two headers of it, outer first. */
export async function dissect(files: CaptureFile[], family: 4 | 6): Promise<Dissection> {
  const ip = family === 4 ? 'ip' : 'ipv6';
  const result: Dissection = {
    malformed: [],
    subflows: [],
    pairs: new Map(),
    data: 0,
    control: 0,
    hasty: [],
  };
  for (const file of files) {
    /** From its opener to its peer: further subflows that have not been made regular yet. */
    const joined = new Set<string>();
    for (const packet of await tshark(file.path)) {
      const protocols = packet['frame.protocols'].split(':');
      if (packet['_ws.malformed'] !== '' || protocols.includes('_ws.malformed')) {
        result.malformed.push(
          `provider ${file.provider}: ${packet['frame.number']} ${packet['frame.protocols']}`,
        );
      }
      if (protocols.includes('lisp')) result.control += 1;
      if (!protocols.includes('lisp-data') || !protocols.includes('tcp')) continue;
      result.data += 1;
      const [outerFrom, innerFrom] = packet[`${ip}.src`].split(',') as [string, string];
      const [outerTo, innerTo] = packet[`${ip}.dst`].split(',') as [string, string];
      const flow = sorted(`${innerFrom} ${packet['tcp.srcport']}`, `${innerTo} ${packet['tcp.dstport']}`);
      const outer = sorted(outerFrom, outerTo);
      const known = result.pairs.get(flow) ?? new Set();
      result.pairs.set(flow, known.add(outer));
      const direction = `${innerFrom} ${packet['tcp.srcport']} ${innerTo} ${packet['tcp.dstport']}`;
      const subtypes = packet['tcp.options.mptcp.subtype'].split(',');
      if (isSet(packet['tcp.flags.syn']) && !isSet(packet['tcp.flags.ack'])) {
        const join = subtypes.includes(MP_JOIN);
        result.subflows.push({ flow, join, outer, provider: file.provider });
        if (join) joined.add(direction);
      } else if (subtypes.includes(MP_PRIO)) joined.delete(direction);
      else if (Number(packet['tcp.len']) > 0 && joined.delete(direction)) result.hasty.push(direction);
    }
  }
  return result;
}
