// SPDX-License-Identifier: BSD-2-Clause

/**
 * What we put on the wire, judged by somebody else's dissector:
 *
 *   object -> our encoder -> IP + UDP -> pcap -> tshark -> nothing malformed, checksums good, fields as in the object
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { blankAuthentication, sign } from '../../../../src/lisp/codec/authentication.js';
import { encapsulate, encodeInnerPacket } from '../../../../src/lisp/codec/ecm.js';
import {
  encodeMessage,
  type ControlMessage,
  type MapRegister,
  type MapReply,
  type MapRequest,
} from '../../../../src/lisp/codec/messages.js';
import type { LocatorRecord, MappingRecord } from '../../../../src/lisp/codec/record.js';
import { inInstance, ipAddress, type LispAddress } from '../../../../src/lisp/codec/address.js';

function tsharkVersion(): string | undefined {
  try {
    return execFileSync('tshark', ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).split('\n')[0];
  } catch {
    return undefined;
  }
}

const version = tsharkVersion();
const missing = version ? false : 'tshark is not installed (apt-get install tshark)';
if (missing && process.env['EXPECT_ALL']) throw new Error(`EXPECT_ALL is set, but ${missing}`);

/** pcap with raw IP packets: link type 101. */
function pcap(packets: Uint8Array[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65535, 16);
  header.writeUInt32LE(101, 20);
  return Buffer.concat([
    header,
    ...packets.flatMap((packet, index) => {
      const record = Buffer.alloc(16);
      record.writeUInt32LE(index, 0);
      record.writeUInt32LE(packet.length, 8);
      record.writeUInt32LE(packet.length, 12);
      return [record, Buffer.from(packet)];
    }),
  ]);
}

/** One line a packet, fields separated by tabs, values by commas. */
function dissect(packets: Uint8Array[], fields: string[]): string[][] {
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-tshark-'));
  try {
    const file = join(folder, 'control.pcap');
    writeFileSync(file, pcap(packets));
    const options = ['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'];
    const output = execFileSync(
      'tshark',
      ['-n', '-r', file, ...options, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    return output
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const key = { keyId: 7, key: 'secret', algorithm: 'hmac-sha-256-128-hkdf' as const };
const nonce = 0x0102030405060708n;
const locator = (address: LispAddress): LocatorRecord => ({
  priority: 1,
  weight: 50,
  multicastPriority: 255,
  multicastWeight: 0,
  local: true,
  probed: false,
  reachable: true,
  address,
});
const record = (
  eid: LispAddress,
  maskLength: number,
  addresses: LispAddress[],
  action = 0,
): MappingRecord => ({
  ttlMinutes: 15,
  maskLength,
  action,
  authoritative: true,
  mapVersion: 0,
  eid,
  locators: addresses.map(locator),
});
const request = (more: Partial<MapRequest>): MapRequest => ({
  type: 'map-request',
  authoritative: false,
  probe: false,
  smr: false,
  pitr: false,
  smrInvoked: false,
  localXtr: false,
  dontMapReply: false,
  nonce,
  sourceEid: ipAddress('192.0.2.1'),
  itrRlocs: [ipAddress('203.0.113.2'), ipAddress('2001:db8:f::2')],
  records: [{ maskLength: 32, eid: ipAddress('198.18.1.10') }],
  ...more,
});
const reply = (records: MappingRecord[], probe = false): MapReply => ({
  type: 'map-reply',
  probe,
  echoNonce: false,
  nonce,
  records,
});
const elp: LispAddress = {
  kind: 'elp',
  hops: [
    { lookup: true, probe: false, strict: true, address: ipAddress('203.0.113.9') },
    { lookup: false, probe: true, strict: false, address: ipAddress('2001:db8:e::1') },
  ],
};
const RLOCS = [ipAddress('203.0.123.2'), ipAddress('2001:db8:f:1::2')];
const notification = {
  nonce,
  authentication: blankAuthentication(key),
  records: [
    record(ipAddress('198.18.1.0'), 24, RLOCS),
    record(inInstance(77, ipAddress('2001:db8:1::')), 48, RLOCS),
  ],
};
const registration: MapRegister = {
  type: 'map-register',
  proxyReply: true,
  security: false,
  useTtl: false,
  merge: false,
  wantMapNotify: true,
  ...notification,
  identity: { xtrId: '0123456789abcdef'.repeat(2), siteId: '00'.repeat(8) },
};

interface Case {
  name: string;
  message: ControlMessage;
  /** lisp.type of every LISP header in the packet. */
  types: string;
  /** tshark's one line about it. */
  info: RegExp;
}

/** Without Map-Notify-Ack: tshark 4.0 does not know it. Its format is that of Map-Notify. */
const cases: Case[] = [
  { name: 'Map-Request', message: request({}), types: '1', info: /^Map-Request for 198\.18\.1\.10\/32$/ },
  { name: 'RLOC-probe', message: request({ probe: true }), types: '1', info: /RLOC-probe/ },
  { name: 'SMR', message: request({ smr: true }), types: '1', info: /SMR/ },
  {
    name: 'Encapsulated Map-Request, IPv4',
    message: encapsulate(request({}), '192.0.2.1', '198.18.1.10'),
    types: '8,1',
    info: /Encapsulated Map-Request for 198\.18\.1\.10\/32/,
  },
  {
    name: 'Encapsulated SMR-invoked Map-Request, IPv6, instance-id',
    message: encapsulate(
      request({
        smrInvoked: true,
        sourceEid: inInstance(77, ipAddress('2001:db8:1::1')),
        records: [{ maskLength: 128, eid: inInstance(77, ipAddress('2001:db8:2::10')) }],
      }),
      '2001:db8:1::1',
      '2001:db8:2::10',
    ),
    types: '8,1',
    info: /Encapsulated Map-Request \(SMR-invoked\) for .*2001:db8:2::10/,
  },
  {
    name: 'Map-Reply',
    message: reply([record(ipAddress('198.18.1.0'), 24, RLOCS)]),
    types: '2',
    info: /^Map-Reply for 198\.18\.1\.0\/24$/,
  },
  {
    name: 'Map-Reply with an explicit locator path',
    message: reply([record(ipAddress('198.18.1.0'), 24, [elp])]),
    types: '2',
    info: /^Map-Reply for/,
  },
  {
    name: 'negative Map-Reply',
    message: reply([record(ipAddress('198.20.0.0'), 14, [], 1)]),
    types: '2',
    info: /Map-Reply/,
  },
  {
    name: 'RLOC-probe reply',
    message: reply([record(ipAddress('198.18.1.0'), 24, RLOCS)], true),
    types: '2',
    info: /RLOC-probe reply/,
  },
  { name: 'Map-Register', message: registration, types: '3', info: /Map-Register/ },
  { name: 'Map-Notify', message: { type: 'map-notify', ...notification }, types: '4', info: /Map-Notify/ },
];

describe(`control messages as ${version ?? 'tshark'} sees them`, { skip: missing }, () => {
  const octets = cases.map(({ message }) =>
    'authentication' in message ? sign(encodeMessage(message), key) : encodeMessage(message),
  );
  /** Every message over IPv4 and over IPv6. */
  const packets = ['203.0.113.2 203.0.123.2', '2001:db8:f::2 2001:db8:f:1::2'].flatMap((pair) => {
    const [source, destination] = pair.split(' ') as [string, string];
    return octets.map((payload) =>
      encodeInnerPacket({ source, sourcePort: 4342, destination, destinationPort: 4342, payload }),
    );
  });
  const lines = missing
    ? []
    : dissect(packets, [
        '_ws.malformed',
        '_ws.expert.message',
        'lisp.type',
        '_ws.col.Info',
        'udp.checksum.status',
        'ip.checksum.status',
        'lisp.nonce',
        'frame.protocols',
      ]);

  for (const [index, { name, types, info }] of [...cases, ...cases].entries()) {
    it(`${name} over IPv${index < cases.length ? 4 : 6}`, () => {
      const [malformed, expert, type, line, udp, ip, seen, protocols] = lines[index]!;
      assert.equal(malformed, '');
      assert.equal(expert, '');
      assert.equal(type, types);
      assert.match(line!, info);
      // Each checksum good (1), outer and inner.
      assert.match(udp!, /^1(,1)?$/);
      assert.match(ip!, /^(1(,1)?)?$/);
      assert.equal(BigInt(seen!), nonce);
      assert.match(protocols!, /udp:lisp/);
    });
  }

  const fieldsOf = (name: string, fields: Record<string, string>): void => {
    const [line] = dissect([packets[cases.findIndex((each) => each.name === name)]!], Object.keys(fields));
    assert.deepEqual(line, Object.values(fields));
  };

  it('fields of a Map-Register hold what was put in', () =>
    fieldsOf('Map-Register', {
      'lisp.mapping.eid.ipv4': '198.18.1.0',
      'lisp.mapping.eid.masklen': '24,48',
      'lisp.mapping.ttl': '15,15',
      'lisp.lcaf.iid': '77',
      'lisp.xtrid': '0123456789abcdef'.repeat(2),
    }));

  it('fields of an explicit locator path hold what was put in', () =>
    fieldsOf('Map-Reply with an explicit locator path', {
      'lisp.lcaf.type': '10',
      'lisp.lcaf.elp_hop.ipv4': '203.0.113.9',
      'lisp.lcaf.elp_hop.ipv6': '2001:db8:e::1',
      'lisp.lcaf_elp_hop.flags.strict': '1,0',
      'lisp.lcaf.elp_hop.flags.probe': '0,1',
    }));
});
