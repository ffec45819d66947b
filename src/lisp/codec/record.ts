// SPDX-License-Identifier: BSD-2-Clause

/** Mapping and locator records, the same in Map-Reply, Map-Register and Map-Notify (RFC 9301 section 5.4). */
import { address, addressBits, type LispAddress } from './address.js';
import { CodecError, type Codec, type Reader } from './bytes.js';

export interface LocatorRecord {
  priority: number;
  weight: number;
  multicastPriority: number;
  multicastWeight: number;
  /** L */
  local: boolean;
  /** p: the locator that an RLOC-probe reply is about. */
  probed: boolean;
  /** R */
  reachable: boolean;
  address: LispAddress;
}

export interface MappingRecord {
  ttlMinutes: number;
  maskLength: number;
  /** The ACT field, 0 to 7; names are in mapping.ts. */
  action: number;
  authoritative: boolean;
  mapVersion: number;
  eid: LispAddress;
  locators: LocatorRecord[];
}

/** An EID prefix that is asked for (RFC 9301 section 5.2). */
export interface EidRecord {
  maskLength: number;
  eid: LispAddress;
}

export function checkMask(maskLength: number, eid: LispAddress): void {
  const bits = addressBits(eid);
  if (bits !== undefined && maskLength > bits) {
    throw new CodecError(
      'malformed',
      `EID mask length ${maskLength} is more than the ${bits} bits of its address family`,
    );
  }
}

/*
 *  0                   1                   2                   3
 *  |    Priority   |    Weight     |  M Priority   |   M Weight    |
 *  |        Unused Flags     |L|p|R|           Loc-AFI             |
 *  |                             Locator                           |
 */
export const locatorRecord: Codec<LocatorRecord> = {
  decode(reader) {
    const [priority, weight] = [reader.u8('locator priority'), reader.u8('locator weight')];
    const [multicastPriority, multicastWeight] = [
      reader.u8('multicast priority'),
      reader.u8('multicast weight'),
    ];
    const flags = reader.u16('locator flags');
    return {
      priority,
      weight,
      multicastPriority,
      multicastWeight,
      local: (flags & 4) !== 0,
      probed: (flags & 2) !== 0,
      reachable: (flags & 1) !== 0,
      address: address.decode(reader),
    };
  },
  encode(value, writer) {
    writer.u8(value.priority);
    writer.u8(value.weight);
    writer.u8(value.multicastPriority);
    writer.u8(value.multicastWeight);
    writer.u16((value.local ? 4 : 0) | (value.probed ? 2 : 0) | (value.reachable ? 1 : 0));
    address.encode(value.address, writer);
  },
  length: (value) => 6 + address.length(value.address),
};

/*
 *  |                          Record TTL                           |
 *  | Locator Count | EID mask-len  | ACT |A|      Reserved         |
 *  | Rsvd  |  Map-Version Number   |       EID-Prefix-AFI          |
 *  |                          EID-Prefix                           |
 */
export const mappingRecord: Codec<MappingRecord> = {
  decode(reader) {
    const ttlMinutes = reader.u32('record TTL');
    const locatorCount = reader.u8('locator count');
    const maskLength = reader.u8('EID mask length');
    const flags = reader.u16('record flags');
    const mapVersion = reader.u16('map-version') & 0xfff;
    const eid = address.decode(reader);
    checkMask(maskLength, eid);
    const locators = many(reader, locatorCount, locatorRecord);
    return {
      ttlMinutes,
      maskLength,
      action: flags >> 13,
      authoritative: (flags & 0x1000) !== 0,
      mapVersion,
      eid,
      locators,
    };
  },
  encode(value, writer) {
    writer.u32(value.ttlMinutes);
    writer.u8(count8(value.locators, 'locators'));
    writer.u8(value.maskLength);
    writer.u16((value.action << 13) | (value.authoritative ? 0x1000 : 0));
    writer.u16(value.mapVersion);
    address.encode(value.eid, writer);
    for (const locator of value.locators) locatorRecord.encode(locator, writer);
  },
  length: (value) =>
    10 +
    address.length(value.eid) +
    value.locators.reduce((sum, locator) => sum + locatorRecord.length(locator), 0),
};

/*
 *  |   Reserved    | EID mask-len  |        EID-Prefix-AFI         |
 *  |                       EID-Prefix  ...                         |
 */
export const eidRecord: Codec<EidRecord> = {
  decode(reader) {
    reader.u8('EID record reserved');
    const maskLength = reader.u8('EID mask length');
    const eid = address.decode(reader);
    checkMask(maskLength, eid);
    return { maskLength, eid };
  },
  encode(value, writer) {
    writer.u8(0);
    writer.u8(value.maskLength);
    address.encode(value.eid, writer);
  },
  length: (value) => 2 + address.length(value.eid),
};

/** Counts on the wire are one octet, so this ends; and every record takes octets, so it ends early on a lie. */
export function many<T>(reader: Reader, count: number, codec: Codec<T>): T[] {
  const values: T[] = [];
  for (let index = 0; index < count; index++) values.push(codec.decode(reader));
  return values;
}

export function count8(values: readonly unknown[], what: string): number {
  if (values.length > 255) throw new RangeError(`${values.length} ${what} do not fit one message`);
  return values.length;
}
