// SPDX-License-Identifier: BSD-2-Clause

/** The addon's interception and connector parts (FreeBSD), as JavaScript sees them. Failures are Errors with `code` = errno's name. */
import type { Endpoint } from '../../platform/platform.js';
import type { NativeSubflowInfo } from '../linux/sockets.types.js';

/** A SYN that pf's divert-to handed over. */
export interface DivertedSyn {
  /** The packet with where it came from; opaque, goes back as it is. */
  packet: Uint8Array;
  client: Endpoint;
  destination: Endpoint;
  sequence: number;
  /** It has MP_JOIN. */
  joins: boolean;
}

/** divert.c: a divert(4) socket. The object owns the descriptor. */
export interface NativeDivert {
  /** SYNs that wait, at most some hundred. */
  receive(): DivertedSyn[];
  /** It goes on as it came. */
  inject(packet: Uint8Array): void;
  /** Answered by RST. */
  refuse(packet: Uint8Array): void;
  /** Answered by ICMP destination unreachable with this code. */
  unreachable(packet: Uint8Array, code: number): void;
  close(): void;
}

/** A SYN that tproxy(4) holds. */
export interface CapturedSyn {
  id: number;
  client: Endpoint;
  destination: Endpoint;
  joins: boolean;
}

export interface CaptureRule {
  prefix: string;
  from: number;
  to: number;
  /** Empty: any. */
  interface: string;
  /** false: passes. */
  capture: boolean;
}

/** tproxyctl.c: a descriptor of /dev/tproxy, with what is registered through it. The object owns the descriptor. */
export interface NativeTproxy {
  register(client: Endpoint, destination: Endpoint, listener: Endpoint): void;
  /** False: there was no such flow. */
  unregister(client: Endpoint, destination: Endpoint): boolean;
  /** Replaces the rules; the first that matches decides. What they capture is held for `holdMs`. */
  capture(rules: CaptureRule[], holdMs: number): void;
  events(): CapturedSyn[];
  /** False: it is not held any more. */
  release(id: number, action: 'inject' | 'refuse' | 'unreachable' | 'drop'): boolean;
  close(): void;
}

export interface NativeInterception {
  /** `wake` is called when SYNs wait. */
  Divert: new (descriptor: number, wake: () => void) => NativeDivert;
  Tproxy: new (descriptor: number, wake: () => void) => NativeTproxy;
  openDivert(port: number, buffer: number): number;
  /** Opens a device for reading and writing. */
  openDevice(path: string): number;
  /** Empties an anchor's rules through a descriptor of /dev/pf. */
  flushAnchor(descriptor: number, anchor: string): void;
}

export interface TcpPreparation {
  /** Of the server: its family is the socket's. */
  address: string;
  /** The local address is not this host's. */
  transparent: boolean;
  localAddress?: string;
  localPort?: number;
  /** By mptcp(4). */
  mptcp?: boolean;
  /** Routing table. */
  fib?: number;
  congestionControl?: string;
  /** Of openTransparent(); owned by prepare() from then on. Absent: a socket is made. */
  descriptor?: number;
}

/** connector.c: connects in a thread of its own. */
export interface NativeConnector {
  start(onConnected: (batch: { descriptor: number; error?: string }[]) => void): void;
  /** A socket that can be bound to addresses that are not this host's; takes privilege. */
  openTransparent(family: 4 | 6, mptcp: boolean): number;
  prepare(preparation: TcpPreparation): { descriptor: number; localAddress: string; localPort: number };
  /** Sends the SYN; the outcome comes to onConnected. */
  connect(descriptor: number, address: string, port: number, timeoutMs: number): void;
  /** Forgets a connect under way; the descriptor stays open. */
  cancel(descriptor: number): boolean;
  /** A TCP socket as its own only subflow. undefined: no such socket any more. */
  subflows(descriptor: number): NativeSubflowInfo[] | undefined;
  stop(): void;
  /** Of interfaces that are up, run and are not known to be without carrier. Needs no start(). */
  liveAddresses(): string[];
}
