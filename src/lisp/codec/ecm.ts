// SPDX-License-Identifier: BSD-2-Clause

/**
 * The inner IP and UDP headers of an Encapsulated Control Message (RFC 9301 section 5.8):
 *
 *   outer IP | outer UDP, port 4342 | type 8 | inner IP | inner UDP | control message
 *                                              `------- this file -------'
 */
import { addressBytes, addressFromBytes } from '../prefix.js';
import { CodecError, Reader, Writer } from './bytes.js';
import {
  CONTROL_PORT,
  decodeMessage,
  encodeMessage,
  type ControlMessage,
  type Encapsulated,
} from './messages.js';

export interface InnerPacket {
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
  payload: Uint8Array;
}

const UDP = 17;
const HOP_LIMIT = 64;

/** The Internet checksum (RFC 1071) over several pieces, each of even length but the last. */
function checksum(...pieces: Uint8Array[]): number {
  let sum = 0;
  for (const piece of pieces) {
    for (let index = 0; index < piece.length; index += 2)
      sum += (piece[index]! << 8) | (piece[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

function pseudoHeader(source: Uint8Array, destination: Uint8Array, udpLength: number): Uint8Array {
  const writer = new Writer(source.length * 2 + 4);
  writer.put(source);
  writer.put(destination);
  writer.u16(UDP);
  writer.u16(udpLength);
  return writer.finish();
}

export const innerPacketLength = (packet: InnerPacket): number =>
  (addressBytes(packet.source).length === 4 ? 20 : 40) + 8 + packet.payload.length;

/** @throws PrefixError, RangeError */
export function encodeInnerPacket(packet: InnerPacket): Uint8Array {
  const [source, destination] = [addressBytes(packet.source), addressBytes(packet.destination)];
  if (source.length !== destination.length)
    throw new RangeError('inner source and destination are of different address families');
  const udpLength = 8 + packet.payload.length;
  const writer = new Writer(innerPacketLength(packet));
  if (source.length === 4) {
    writer.u16(0x4500);
    writer.u16(20 + udpLength);
    writer.u32(0x4000); // identification 0, don't fragment
    writer.u8(HOP_LIMIT);
    writer.u8(UDP);
    writer.u16(0);
  } else {
    writer.u32(0x60000000);
    writer.u16(udpLength);
    writer.u8(UDP);
    writer.u8(HOP_LIMIT);
  }
  writer.put(source);
  writer.put(destination);
  const headerLength = source.length === 4 ? 20 : 40;
  writer.u16(packet.sourcePort);
  writer.u16(packet.destinationPort);
  writer.u16(udpLength);
  writer.u16(0);
  writer.put(packet.payload);
  const bytes = writer.finish();
  const view = new DataView(bytes.buffer);
  if (source.length === 4) view.setUint16(10, checksum(bytes.subarray(0, 20)));
  // A sum of zero is sent as all ones (RFC 768): zero means 'no checksum'.
  view.setUint16(
    headerLength + 6,
    checksum(pseudoHeader(source, destination, udpLength), bytes.subarray(headerLength)) || 0xffff,
  );
  return bytes;
}

/** @throws CodecError */
export function decodeInnerPacket(packet: Uint8Array): InnerPacket {
  const reader = new Reader(packet);
  const first = reader.u8('inner IP header');
  let source: Uint8Array;
  let destination: Uint8Array;
  let udpBytes: number;
  if (first >> 4 === 4) {
    const headerLength = (first & 15) * 4;
    if (headerLength < 20)
      throw new CodecError('malformed', `inner IPv4 header length of ${headerLength} octets`);
    reader.u8('inner IPv4 header');
    const totalLength = reader.u16('inner IPv4 total length');
    reader.u16('inner IPv4 identification');
    const fragment = reader.u16('inner IPv4 fragment offset');
    if ((fragment & 0x3fff) !== 0) throw new CodecError('unsupported', 'inner IPv4 packet is a fragment');
    reader.u8('inner IPv4 time to live');
    if (reader.u8('inner IPv4 protocol') !== UDP)
      throw new CodecError('malformed', 'inner IPv4 packet is not UDP');
    reader.u16('inner IPv4 checksum');
    source = reader.take(4, 'inner source address');
    destination = reader.take(4, 'inner destination address');
    reader.take(headerLength - 20, 'inner IPv4 options');
    if (checksum(packet.subarray(0, headerLength)) !== 0)
      throw new CodecError('malformed', 'inner IPv4 header checksum is wrong');
    udpBytes = totalLength - headerLength;
  } else if (first >> 4 === 6) {
    reader.take(3, 'inner IPv6 header');
    udpBytes = reader.u16('inner IPv6 payload length');
    if (reader.u8('inner IPv6 next header') !== UDP)
      throw new CodecError('malformed', 'inner IPv6 packet is not UDP');
    reader.u8('inner IPv6 hop limit');
    source = reader.take(16, 'inner source address');
    destination = reader.take(16, 'inner destination address');
  } else {
    throw new CodecError('malformed', `inner packet has IP version ${first >> 4}`);
  }
  if (udpBytes < 8) throw new CodecError('malformed', `inner UDP datagram of ${udpBytes} octets`);
  const datagram = reader.take(udpBytes, 'inner UDP datagram');
  reader.end('Encapsulated Control Message');
  const udp = new Reader(datagram);
  const [sourcePort, destinationPort] = [udp.u16('inner source port'), udp.u16('inner destination port')];
  const udpLength = udp.u16('inner UDP length');
  if (udpLength !== udpBytes)
    throw new CodecError(
      'malformed',
      `inner UDP length ${udpLength} is not the ${udpBytes} octets there are`,
    );
  const sum = udp.u16('inner UDP checksum');
  if (sum !== 0 && checksum(pseudoHeader(source, destination, udpLength), datagram) !== 0) {
    throw new CodecError('malformed', 'inner UDP checksum is wrong');
  }
  return {
    source: addressFromBytes(source),
    sourcePort,
    destination: addressFromBytes(destination),
    destinationPort,
    payload: udp.rest(),
  };
}

/** Wraps a control message for a map-resolver. `source` and `destination` are of the same address family. */
export const encapsulate = (
  message: ControlMessage,
  source: string,
  destination: string,
  sourcePort = CONTROL_PORT,
): Encapsulated => ({
  type: 'encapsulated',
  ddt: false,
  packet: encodeInnerPacket({
    source,
    sourcePort,
    destination,
    destinationPort: CONTROL_PORT,
    payload: encodeMessage(message),
  }),
});

/** @throws CodecError */
export function decapsulate(outer: Encapsulated): { inner: InnerPacket; message: ControlMessage } {
  const inner = decodeInnerPacket(outer.packet);
  const message = decodeMessage(inner.payload);
  // One level is all there is; more would only be a way to keep a receiver busy.
  if (message.type === 'encapsulated')
    throw new CodecError('malformed', 'Encapsulated Control Message inside another');
  return { inner, message };
}
