// SPDX-License-Identifier: BSD-2-Clause

/** Netlink messages and attributes (linux/netlink.h, linux/genetlink.h): bytes in the host's order, padded to 4. */

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
const HEADER = 16;
const GENL_HEADER = 4;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

const pad = (length: number): number => (length + 3) & ~3;

export type AttributeValue = Uint8Array | Attribute[];
export interface Attribute {
  type: number;
  value: AttributeValue;
}

export const u8 = (type: number, value: number): Attribute => ({ type, value: Uint8Array.of(value) });
export function u16(type: number, value: number): Attribute {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value, LITTLE);
  return { type, value: bytes };
}
export function u32(type: number, value: number): Attribute {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, LITTLE);
  return { type, value: bytes };
}
export const text = (type: number, value: string): Attribute => ({
  type,
  value: new TextEncoder().encode(value + '\0'),
});

function attributesLength(attributes: Attribute[]): number {
  return attributes.reduce(
    (sum, { value }) => sum + pad(4 + (Array.isArray(value) ? attributesLength(value) : value.length)),
    0,
  );
}

function writeAttributes(attributes: Attribute[], view: DataView, start: number): number {
  let at = start;
  for (const { type, value } of attributes) {
    const nested = Array.isArray(value);
    const length = 4 + (nested ? attributesLength(value) : value.length);
    view.setUint16(at, length, LITTLE);
    view.setUint16(at + 2, nested ? type | NESTED : type, LITTLE);
    if (nested) writeAttributes(value, view, at + 4);
    else new Uint8Array(view.buffer, view.byteOffset + at + 4, value.length).set(value);
    at += pad(length);
  }
  return at;
}

/** A generic netlink request. Sequence number, port and the REQUEST and ACK flags are the sender's to set. */
export function encodeRequest(
  family: number,
  command: number,
  version: number,
  attributes: Attribute[],
  flags = 0,
): Uint8Array {
  const length = HEADER + GENL_HEADER + attributesLength(attributes);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, LITTLE);
  view.setUint16(4, family, LITTLE);
  view.setUint16(6, flags, LITTLE);
  view.setUint8(HEADER, command);
  view.setUint8(HEADER + 1, version);
  writeAttributes(attributes, view, HEADER + GENL_HEADER);
  return bytes;
}

export type NetlinkMessage =
  /** errno 0 is the acknowledgement; `message` is the kernel's own explanation, where it gives one. */
  | { kind: 'error'; errno: number; message?: string }
  | { kind: 'done' }
  | { kind: 'generic'; family: number; command: number; payload: Uint8Array };

const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

/** Messages of one datagram; what is cut off at the end is left out. */
export function decodeMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER <= bytes.length;) {
    const length = view.getUint32(at, LITTLE);
    if (length < HEADER || at + length > bytes.length) break;
    const type = view.getUint16(at + 4, LITTLE);
    const flags = view.getUint16(at + 6, LITTLE);
    if (type === NLMSG_ERROR) {
      if (length < HEADER + 4) break;
      const errno = 0 - view.getInt32(at + HEADER, LITTLE);
      let message: string | undefined;
      if (flags & NLM_F_ACK_TLVS && length >= HEADER + 4 + HEADER) {
        // The request's header comes back, and its payload unless it was capped.
        const echoed = flags & NLM_F_CAPPED ? HEADER : pad(view.getUint32(at + HEADER + 4, LITTLE));
        const start = at + HEADER + 4 + echoed;
        if (start <= at + length) {
          const told = readAttributes(bytes.subarray(start, at + length)).get(NLMSGERR_ATTR_MSG);
          if (told) message = readText(told);
        }
      }
      messages.push(message === undefined ? { kind: 'error', errno } : { kind: 'error', errno, message });
    } else if (type === NLMSG_DONE) {
      messages.push({ kind: 'done' });
    } else if (length >= HEADER + GENL_HEADER) {
      messages.push({
        kind: 'generic',
        family: type,
        command: view.getUint8(at + HEADER),
        payload: bytes.subarray(at + HEADER + GENL_HEADER, at + length),
      });
    }
    at += pad(length);
  }
  return messages;
}

/** Attributes by type; the last of a type counts, as in the kernel's parser. */
export function readAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  return new Map(listAttributes(bytes));
}

export function listAttributes(bytes: Uint8Array): [number, Uint8Array][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const list: [number, Uint8Array][] = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = view.getUint16(at, LITTLE);
    if (length < 4 || at + length > bytes.length) break;
    list.push([view.getUint16(at + 2, LITTLE) & TYPE_MASK, bytes.subarray(at + 4, at + length)]);
    at += pad(length);
  }
  return list;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export const readU8 = (bytes: Uint8Array | undefined): number | undefined => bytes?.[0];
export const readU16 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes && bytes.length >= 2 ? viewOf(bytes).getUint16(0, LITTLE) : undefined;
export const readU16Network = (bytes: Uint8Array | undefined): number | undefined =>
  bytes && bytes.length >= 2 ? viewOf(bytes).getUint16(0) : undefined;
export const readU32 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes && bytes.length >= 4 ? viewOf(bytes).getUint32(0, LITTLE) : undefined;
export const readText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/\0.*$/s, '');
