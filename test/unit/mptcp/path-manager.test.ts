// SPDX-License-Identifier: BSD-2-Clause
/* Octets as sent to and recorded from Linux 6.18 (little-endian). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeMessages, listAttributes } from '../../../src/mptcp/netlink.js';
import {
  decodeEvents,
  decodeFamily,
  decodeOutcome,
  encodeCommand,
  encodeFamilyRequest,
  type PmCommand,
} from '../../../src/mptcp/path-manager.js';

const unhex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const FAMILY = 28;
const commands: [PmCommand, string][] = [
  [
    {
      command: 'subflow-create',
      token: 0x11223344,
      local: { address: '192.0.2.1', port: 20001, id: 1 },
      remote: { address: '198.18.1.10', port: 80 },
    },
    `5c000000 1c00 0000 00000000 00000000 0a010000
     0800 0400 44332211
     2400 0180 0600 0100 0200 0000 0500 0200 01000000 0800 0300 c0000201 0600 0500 214e 0000
     1c00 0680 0600 0100 0200 0000 0800 0300 c612010a 0600 0500 5000 0000`,
  ],
  [
    {
      command: 'subflow-destroy',
      token: 0x11223344,
      local: { address: '2001:db8::1', port: 20001 },
      remote: { address: '2001:db8::2', port: 443 },
    },
    `6c000000 1c00 0000 00000000 00000000 0b010000
     0800 0400 44332211
     2800 0180 0600 0100 0a00 0000 1400 0400 20010db8000000000000000000000001 0600 0500 214e 0000
     2800 0680 0600 0100 0a00 0000 1400 0400 20010db8000000000000000000000002 0600 0500 bb01 0000`,
  ],
  [
    { command: 'remove', token: 1, localId: 3 },
    '24000000 1c00 0000 00000000 00000000 09010000 0800 0400 01000000 0500 0500 03000000',
  ],
  [
    { command: 'announce', token: 1, local: { address: '192.0.2.1', port: 0, id: 9 } },
    `40000000 1c00 0000 00000000 00000000 08010000 0800 0400 01000000
     2400 0180 0600 0100 0200 0000 0500 0200 09000000 0800 0300 c0000201 0800 0600 01000000`,
  ],
  [
    {
      command: 'set-flags',
      token: 1,
      local: { address: '192.0.2.1', port: 5 },
      remote: { address: '192.0.2.2', port: 6 },
      backup: true,
    },
    `5c000000 1c00 0000 00000000 00000000 07010000 0800 0400 01000000
     2400 0180 0600 0100 0200 0000 0800 0300 c0000201 0600 0500 0500 0000 0800 0600 04000000
     1c00 0680 0600 0100 0200 0000 0800 0300 c0000202 0600 0500 0600 0000`,
  ],
];

describe('path manager commands', () => {
  for (const [command, octets] of commands)
    it(command.command, () => assert.equal(hex(encodeCommand(FAMILY, command)), hex(unhex(octets))));

  it('asks for the family by name', () =>
    assert.equal(
      hex(encodeFamilyRequest('mptcp_pm')),
      hex(unhex('24000000 1000 0000 00000000 00000000 03010000 0d00 0200 6d707463705f706d00 000000')),
    ));
});

const familyAnswer = unhex(
  `68010000 1000 0000 01000000 7f3d0000 01020000 0d00 0200 6d707463705f706d00000000 0600 0100 1c000000
   08000300 01000000 08000400 00000000 08000500 00000000
   e0000600 1400010008000100 01000000 08000200 1a000000 1400020008000100 02000000 08000200 1a000000
   1400030008000100 03000000 08000200 0e000000 1400040008000100 04000000 08000200 1a000000
   1400050008000100 05000000 08000200 1a000000 1400060008000100 06000000 08000200 0a000000
   1400070008000100 07000000 08000200 1a000000 1400080008000100 08000000 08000200 1a000000
   1400090008000100 09000000 08000200 1a000000 14000a0008000100 0a000000 08000200 1a000000
   14000b0008000100 0b000000 08000200 1a000000
   44000700 20000100 08000200 08000000 12000100 6d707463705f706d5f636d6473000000
            20000200 08000200 09000000 14000100 6d707463705f706d5f6576656e747300`,
);

describe('path manager answers', () => {
  it('finds family and groups', () => {
    const family = decodeFamily([familyAnswer]);
    assert.equal(family?.id, 28);
    assert.deepEqual(
      [...family!.groups],
      [
        ['mptcp_pm_cmds', 8],
        ['mptcp_pm_events', 9],
      ],
    );
  });

  it('an acknowledgement is errno 0', () =>
    assert.deepEqual(
      decodeOutcome([
        unhex('24000000 0200 0001 02000000 603e0000 00000000 5c000000 1c00 0500 02000000 00000000'),
      ]),
      { errno: 0, message: undefined },
    ));

  it('an error comes with the kernel’s own words', () =>
    assert.deepEqual(
      decodeOutcome([
        unhex(
          `8c000000 0200 0002 03000000 603e0000 eaffffff
           5c000000 1c00 0500 03000000 00000000 0a010000 0800040005000000
           2400018006000100 0200000005000200 0100000008000300 c000020106000500 214e0000
           1c000680 0600010002000000 08000300 c612010a 0600050050000000
           12000100 696e76616c696420746f6b656e00 0000 08000200 14000000`,
        ),
      ]),
      { errno: 22, message: 'invalid token' },
    ));

  it('no acknowledgement is a protocol error', () => assert.equal(decodeOutcome([]).errno, 71));
});

const endpoints = {
  local: { address: '192.0.2.1', port: 20000 },
  remote: { address: '198.18.1.10', port: 80 },
};
const events: [string, unknown][] = [
  [
    `54000000 1c00 0000 00000000 00000000 01010000 0800 0100 50b0e1cf 0600 0200 0200 0000
     0800 0500 c0000201 0800 0700 c612010a 0600 0900 4e20 0000 0600 0a00 0050 0000 0500 0300 00000000 0500 0400 00000000`,
    { event: 'created', token: 0xcfe1b050, localId: 0, remoteId: 0, ...endpoints },
  ],
  [
    `5c000000 1c00 0000 00000000 00000000 0a010000 0800 0100 ec559e4b 0600 0200 0200 0000
     0800 0500 c0000201 0800 0700 c612010a 0600 0900 4e21 0000 0600 0a00 0050 0000 0500 0300 01000000 0500 0400 00000000
     0500 0b00 00000000`,
    {
      event: 'subflow-established',
      token: 0x4b9e55ec,
      localId: 1,
      remoteId: 0,
      local: { address: '192.0.2.1', port: 20001 },
      remote: endpoints.remote,
      backup: false,
    },
  ],
  [
    '1c000000 1c00 0000 00000000 00000000 03010000 0800 0100 ec559e4b',
    { event: 'closed', token: 0x4b9e55ec },
  ],
  [
    `54000000 1c00 0000 00000000 00000000 0b010000 0800 0100 01000000
     1400 0600 20010db8000000000000000000000001 1400 0800 20010db8000000000000000000000002
     0500 0c00 6e000000 0800 1000 04000000`,
    {
      event: 'subflow-closed',
      token: 1,
      local: { address: '2001:db8::1', port: 0 },
      remote: { address: '2001:db8::2', port: 0 },
      error: 110,
      resetReason: 4,
    },
  ],
];

describe('path manager events', () => {
  for (const [octets, event] of events)
    it((event as { event: string }).event, () => assert.deepEqual(decodeEvents(unhex(octets)), [event]));

  it('several in one datagram', () =>
    assert.deepEqual(
      decodeEvents(Buffer.concat(events.map(([octets]) => unhex(octets)))),
      events.map(([, event]) => event),
    ));

  it('an unknown event is passed over', () =>
    assert.deepEqual(
      decodeEvents(unhex('1c000000 1c00 0000 00000000 00000000 63010000 0800 0100 01000000')),
      [],
    ));

  it('any truncation is nothing, not an exception', () => {
    for (const [octets] of events) {
      const whole = unhex(octets);
      for (let length = 0; length < whole.length; length++)
        assert.deepEqual(decodeEvents(whole.subarray(0, length)), []);
    }
    for (let length = 0; length < familyAnswer.length; length++)
      assert.equal(decodeFamily([familyAnswer.subarray(0, length)]), undefined);
  });

  it('any octets are read without an exception and without looping', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodeEvents(bytes);
        decodeFamily([bytes]);
        decodeOutcome([bytes]);
        listAttributes(bytes);
        decodeMessages(bytes);
      }),
      { numRuns: 2000 },
    );
    // The same with a plausible header, so that the inner parts are reached.
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4, maxLength: 200 }),
        fc.integer({ min: 0, max: 13 }),
        fc.constantFrom(2, 3, 28),
        fc.constantFrom(0, 0x100, 0x200, 0x300),
        (payload, command, type, flags) => {
          const message = Buffer.alloc(16 + payload.length);
          message.writeUInt32LE(message.length, 0);
          message.writeUInt16LE(type, 4);
          message.writeUInt16LE(flags, 6);
          message.set(payload, 16);
          message[16] = command;
          decodeEvents(message);
          decodeFamily([message]);
          decodeOutcome([message]);
        },
      ),
      { numRuns: 5000 },
    );
  });
});
