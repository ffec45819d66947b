// SPDX-License-Identifier: BSD-2-Clause

/** Reading and writing octets in network order. A reader never goes past its end, a writer never past its size. */

export type CodecErrorCode =
  /** Ends before what it announces. */
  | 'truncated'
  /** A field has a value it must not have, or lengths contradict each other. */
  | 'malformed'
  /** Well-formed as far as one can tell, but of a kind that is not handled. */
  | 'unsupported';

export class CodecError extends Error {
  constructor(
    readonly code: CodecErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'CodecError';
  }
}

/** A record's three functions, side by side. `encode` writes exactly `length` octets. */
export interface Codec<T> {
  decode(reader: Reader): T;
  encode(value: T, writer: Writer): void;
  length(value: T): number;
}

export class Reader {
  private readonly view: DataView;
  private position = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.bytes.length - this.position;
  }

  private advance(octets: number, what: string): number {
    if (octets > this.remaining) {
      throw new CodecError(
        'truncated',
        `${what} needs ${octets} octets at offset ${this.position}, ${this.remaining} are left`,
      );
    }
    const at = this.position;
    this.position += octets;
    return at;
  }

  u8(what: string): number {
    return this.view.getUint8(this.advance(1, what));
  }

  u16(what: string): number {
    return this.view.getUint16(this.advance(2, what));
  }

  u32(what: string): number {
    return this.view.getUint32(this.advance(4, what));
  }

  u64(what: string): bigint {
    return this.view.getBigUint64(this.advance(8, what));
  }

  /** A copy, so that a message may outlive the datagram it came in. */
  take(octets: number, what: string): Uint8Array {
    const at = this.advance(octets, what);
    return this.bytes.slice(at, at + octets);
  }

  rest(): Uint8Array {
    return this.take(this.remaining, 'rest');
  }

  /** A reader of the next octets alone: what is inside cannot read what is outside. */
  sub(octets: number, what: string): Reader {
    const at = this.advance(octets, what);
    return new Reader(this.bytes.subarray(at, at + octets));
  }

  /** @throws CodecError when something is left */
  end(what: string): void {
    if (this.remaining > 0)
      throw new CodecError('malformed', `${what} has ${this.remaining} octets more than it should`);
  }
}

export class Writer {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private position = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  private advance(octets: number): number {
    const at = this.position;
    if (at + octets > this.bytes.length)
      throw new RangeError(`writing ${octets} octets at ${at} of ${this.bytes.length}`);
    this.position += octets;
    return at;
  }

  u8(value: number): void {
    this.view.setUint8(this.advance(1), value);
  }

  u16(value: number): void {
    this.view.setUint16(this.advance(2), value);
  }

  u32(value: number): void {
    this.view.setUint32(this.advance(4), value);
  }

  u64(value: bigint): void {
    this.view.setBigUint64(this.advance(8), value);
  }

  put(value: Uint8Array): void {
    this.bytes.set(value, this.advance(value.length));
  }

  /** The octets, all of them written. */
  finish(): Uint8Array {
    if (this.position !== this.bytes.length)
      throw new RangeError(`wrote ${this.position} of ${this.bytes.length} octets`);
    return this.bytes;
  }
}

export function encodeWith<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer(codec.length(value));
  codec.encode(value, writer);
  return writer.finish();
}

/** Decodes all of `bytes`. @throws CodecError */
export function decodeWith<T>(codec: Codec<T>, bytes: Uint8Array, what: string): T {
  const reader = new Reader(bytes);
  const value = codec.decode(reader);
  reader.end(what);
  return value;
}
