// SPDX-License-Identifier: BSD-2-Clause

/** The addon's mptcp(4) part (FreeBSD), as JavaScript sees it. Failures are Errors with `code` = errno's name. */
import type { Endpoint } from '../../platform/platform.js';
import type { NativeSubflowInfo } from '../linux/sockets.types.js';

export type NativeMptcpState = 'initial' | 'established' | 'fallback' | 'closed';

export interface NativeMptcpConnection {
  state: NativeMptcpState;
  /** 0: none, because it is plain TCP. */
  token: number;
  /** Those that are over, for as long as the kernel remembers them, included: their `state` is 'closed'. */
  subflows: (Omit<NativeSubflowInfo, 'state'> & {
    id: number;
    state: 'joining' | 'established' | 'closed';
    backup: boolean;
  })[];
}

export interface NativeMptcpEvent {
  type:
    | 'created'
    | 'established'
    | 'fallback'
    | 'closed'
    | 'announced'
    | 'removed'
    | 'subflow-up'
    | 'subflow-down'
    | 'subflow-priority';
  token: number;
  /** The subflow's number in its connection. */
  id: number;
  /** Of the subflow; an address 'announced' is the remote one. */
  local: Endpoint;
  remote: Endpoint;
  addressId: number;
  /** The peer wants it to be one. */
  backup: boolean;
  /** Why the subflow or the connection ended. */
  error?: string;
  /** Events that were dropped before this one. */
  lost: number;
}

/** A descriptor of /dev/mptcp. The object owns it. */
export interface NativeMptcpControl {
  state(): { enabled: boolean; connections: number; sockets: number };
  /** undefined: there is none (any more). */
  connection(token: number): NativeMptcpConnection | undefined;
  /** Bound when it returns, with the number that names it from then on; what becomes of it is an event. */
  addSubflow(token: number, local: Endpoint, remote: Endpoint, backup: boolean): number;
  /** False: there is none. */
  removeSubflow(token: number, id: number): boolean;
  setBackup(token: number, id: number, backup: boolean): boolean;
  /** Those that wait, at most some hundred. */
  events(): NativeMptcpEvent[];
  close(): void;
}

export interface NativeMptcpPart {
  /** `wake` is called when events wait. */
  Control: new (descriptor: number, wake: () => void) => NativeMptcpControl;
  /** One's own socket. undefined: it is none of MPTCP. */
  socket(descriptor: number): NativeMptcpConnection | undefined;
}
