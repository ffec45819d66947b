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

async function tshark(file: string, filter: string, fields: string[]): Promise<string[][]> {
  const args = [
    '-n',
    '-r',
    file,
    '-Y',
    filter,
    '-T',
    'fields',
    '-E',
    'occurrence=a',
    '-E',
    'aggregator=,',
    '-E',
    'separator=/t',
  ];
  const { stdout } = await run('tshark', [...args, ...fields.flatMap((field) => ['-e', field])], {
    timeoutMs: 120_000,
  });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
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
}

const sorted = (one: string, other: string): string => (one < other ? `${one} ${other}` : `${other} ${one}`);

/** `family` is that of EIDs and RLOCs: a dissected packet has two headers of it, outer first. */
export async function dissect(files: CaptureFile[], family: 4 | 6): Promise<Dissection> {
  const ip = family === 4 ? 'ip' : 'ipv6';
  const result: Dissection = { malformed: [], subflows: [], pairs: new Map(), data: 0, control: 0 };
  for (const file of files) {
    const bad = await tshark(file.path, '_ws.malformed', [
      'frame.number',
      '_ws.col.Protocol',
      '_ws.col.Info',
    ]);
    result.malformed.push(...bad.map((fields) => `provider ${file.provider}: ${fields.join(' ')}`));
    const packets = await tshark(file.path, 'lisp-data && tcp', [
      `${ip}.src`, `${ip}.dst`, 'tcp.srcport', 'tcp.dstport', 'tcp.flags.syn', 'tcp.flags.ack', 'tcp.options.mptcp.subtype',
    ]); // prettier-ignore
    for (const [sources, destinations, from, to, syn, ack, subtypes] of packets) {
      result.data += 1;
      const [outerFrom, innerFrom] = sources!.split(',') as [string, string];
      const [outerTo, innerTo] = destinations!.split(',') as [string, string];
      const flow = sorted(`${innerFrom} ${from}`, `${innerTo} ${to}`);
      const outer = sorted(outerFrom, outerTo);
      const known = result.pairs.get(flow) ?? new Set();
      result.pairs.set(flow, known.add(outer));
      const isSet = (flag: string | undefined): boolean => flag === '1' || flag === 'True';
      if (isSet(syn) && !isSet(ack)) {
        result.subflows.push({
          flow,
          join: (subtypes ?? '').split(',').some((subtype) => Number(subtype) === 1 && subtype !== ''),
          outer,
          provider: file.provider,
        });
      }
    }
    result.control += (await tshark(file.path, 'lisp', ['frame.number'])).length;
  }
  return result;
}
