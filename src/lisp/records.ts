// SPDX-License-Identifier: BSD-2-Clause

/** Between records as they are on the wire and mappings as the program uses them. */
import { inInstance, instanceOf, ipAddress, ipOf, type LispAddress } from './codec/address.js';
import type { MapRequest } from './codec/messages.js';
import { mappingRecord, type EidRecord, type LocatorRecord, type MappingRecord } from './codec/record.js';
import {
  MAPPING_ACTIONS,
  type Locator,
  type Mapping,
  type MappingAction,
  type MappingSource,
} from './mapping.js';
import { addressBytes, prefixFromBytes, type Prefix } from './prefix.js';

const MAX_RECORDS_SIZE = 1200;

/** An EID prefix with its instance-id. */
export interface Eid {
  iid: number;
  prefix: Prefix;
}

export const eidKey = (eid: Eid): string => `${eid.iid}/${eid.prefix.text}`;

const ACTION_NAMES = new Map<number, MappingAction>(
  Object.entries(MAPPING_ACTIONS).map(([name, number]) => [number, name as MappingAction]),
);

/** undefined for an EID that is no IP prefix. Host bits are cleared: some peers leave them. */
export function eidOf(record: EidRecord): Eid | undefined {
  const ip = ipOf(record.eid);
  return ip === undefined
    ? undefined
    : { iid: instanceOf(record.eid), prefix: prefixFromBytes(addressBytes(ip), record.maskLength) };
}

export const toEidRecord = ({ iid, prefix }: Eid): EidRecord => ({
  maskLength: prefix.length,
  eid: eidAddress(iid, prefix),
});

export const eidAddress = (iid: number, prefix: Prefix): LispAddress =>
  inInstance(iid, ipAddress(prefix.text.slice(0, prefix.text.indexOf('/'))));

/** The EID of exactly one address. */
export function hostEid(iid: number, address: string): Eid {
  const bytes = addressBytes(address);
  return { iid, prefix: prefixFromBytes(bytes, bytes.length * 8) };
}

/** Who asks: the Source-EID, or an ITR-RLOC where there is none. */
export function sourceOf(request: MapRequest): Eid | undefined {
  const address =
    ipOf(request.sourceEid) ?? request.itrRlocs.map(ipOf).find((itrRloc) => itrRloc !== undefined);
  return address === undefined ? undefined : hostEid(instanceOf(request.sourceEid), address);
}

/** What fits one datagram on any path (RFC 8200's smallest MTU, less headers), the first record in any case. */
export function withinSize(records: MappingRecord[]): MappingRecord[] {
  let size = 0;
  return records
    .slice(0, 255)
    .filter((record, index) => (size += mappingRecord.length(record)) <= MAX_RECORDS_SIZE || index === 0);
}

/** An address that packets can be sent to: not unspecified, loopback, multicast or broadcast. */
export function isUsableRloc(address: string): boolean {
  const bytes = addressBytes(address);
  if (bytes.length === 4) return bytes[0] !== 0 && bytes[0] !== 127 && bytes[0]! < 224;
  return bytes[0] !== 0xff && !bytes.every((octet, index) => octet === 0 || (index === 15 && octet === 1));
}

/** undefined for a locator that cannot be used at all (no IP address, multicast, ...). */
export function toLocator(record: LocatorRecord): Locator | undefined {
  const { address, priority, weight, multicastPriority, multicastWeight, reachable, local } = record;
  const fields = { priority, weight, multicastPriority, multicastWeight, reachable, local };
  if (address.kind === 'elp') {
    const elp = address.hops.flatMap((hop) => {
      const ip = ipOf(hop.address);
      return ip === undefined
        ? []
        : [{ address: ip, lookup: hop.lookup, probe: hop.probe, strict: hop.strict }];
    });
    const last = elp.at(-1);
    return last && elp.length === address.hops.length && isUsableRloc(last.address)
      ? { rloc: last.address, ...fields, elp }
      : undefined;
  }
  const rloc = ipOf(address);
  return rloc !== undefined && isUsableRloc(rloc) ? { rloc, ...fields } : undefined;
}

export function toLocatorRecord(locator: Locator, probed = false): LocatorRecord {
  return {
    priority: locator.priority,
    weight: locator.weight,
    multicastPriority: locator.multicastPriority ?? 255,
    multicastWeight: locator.multicastWeight ?? 0,
    local: locator.local ?? false,
    probed,
    reachable: locator.reachable,
    address: locator.elp
      ? {
          kind: 'elp',
          hops: locator.elp.map(({ address, ...flags }) => ({ ...flags, address: ipAddress(address) })),
        }
      : ipAddress(locator.rloc),
  };
}

/** The mapping a record of a Map-Reply or Map-Notify stands for; undefined when its EID is no IP prefix. */
export function toMapping(record: MappingRecord, source: MappingSource): Mapping | undefined {
  const eid = eidOf(record);
  if (!eid) return undefined;
  const locators = record.locators.map(toLocator).filter((locator) => locator !== undefined);
  return {
    iid: eid.iid,
    eid: eid.prefix.text,
    locators,
    action: ACTION_NAMES.get(record.action) ?? 'drop-no-reason',
    ttlSeconds: record.ttlMinutes * 60,
    source,
  };
}

export function toMappingRecord(
  eid: Eid,
  fields: { ttlSeconds: number; locators: LocatorRecord[]; action?: MappingAction; authoritative: boolean },
): MappingRecord {
  return {
    // Rounded up: nothing that lives should be announced as dead.
    ttlMinutes: Math.min(0xffffffff, Math.ceil(fields.ttlSeconds / 60)),
    maskLength: eid.prefix.length,
    action: MAPPING_ACTIONS[fields.action ?? 'no-action'],
    authoritative: fields.authoritative,
    mapVersion: 0,
    eid: eidAddress(eid.iid, eid.prefix),
    locators: fields.locators,
  };
}
