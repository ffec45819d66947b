// SPDX-License-Identifier: BSD-2-Clause

/** The addon's eBPF part on Linux, as JavaScript sees it. Failures are Errors with `code` = errno's name. */

export interface NativeMap {
  descriptor: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
}

export interface NativeRoute {
  /** Index of the device. */
  device: number;
  mtu: number;
  ethernet: boolean;
}

export interface NativeBpf {
  /** Makes the maps and loads the programs of an object file; the descriptors belong to the caller. */
  load(file: Uint8Array): { maps: Record<string, NativeMap>; programs: Record<string, number> };
  close(descriptor: number): void;
  /** Key and value must have the map's sizes: nothing checks them further down. */
  update(map: number, key: Uint8Array, value: Uint8Array): void;
  /** false: it was not there. */
  delete(map: number, key: Uint8Array): boolean;
  /** Fills `value`; false: it is not there. */
  lookup(map: number, key: Uint8Array, value: Uint8Array): boolean;
  /** All keys one behind the other, `bound` at most. */
  keys(map: number, keySize: number, bound: number): Buffer;
  /**
   * The program runs until what is returned is detached: by tcx where the kernel has it, or by a filter in the device's clsact
   * qdisc, which outlives this process when that is killed.
   */
  attach(program: number, device: number, egress: boolean, clsact: boolean): number;
  detach(attached: number): void;
  /** Filters of ours that a killed predecessor left on any device. */
  clean(): void;
  /** The route from one address to another; undefined without one. */
  route(local: Uint8Array, remote: Uint8Array): NativeRoute | undefined;
  /** The device that has an address. */
  owner(address: Uint8Array): NativeRoute | undefined;
  /** A device's index in this network namespace, 0 without one. /sys may show another namespace's devices. */
  index(device: string): number;
  openRing(map: number, size: number, onRecords: (records: Buffer[]) => void): void;
  closeRing(): void;
}
