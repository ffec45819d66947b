// SPDX-License-Identifier: BSD-2-Clause

/**
 * What the unprivileged daemon may ask of its privileged parent, and the answers. One JSON value per datagram of a
 * SOCK_SEQPACKET socket pair; descriptors travel beside it (SCM_RIGHTS). The guard believes nothing: `parseRequest`
 * checks the shape, HostNetwork checks names, prefixes and numbers.
 */
import type {
  BypassEntry,
  DeviceSettings,
  InterceptionRequest,
  ListenRequest,
  RlocRoute,
  TunRequest,
} from '../platform/linux/host-network.js';

/** A UNIX socket the daemon listens on, made by the guard so that it can be root:group. */
export interface UnixListenRequest {
  path: string;
  mode: number;
  group?: string;
}

export type GuardRequest =
  | { type: 'open-tun'; request: TunRequest }
  | { type: 'set-device'; device: string; settings: DeviceSettings }
  | { type: 'set-local-prefixes'; prefixes: string[] }
  | { type: 'set-rloc-routes'; rlocs: RlocRoute[] }
  | { type: 'set-interception'; request: InterceptionRequest | 'delivery-only' | 'none' }
  | { type: 'add-bypass'; prefix: string; ttlSeconds: number }
  | { type: 'remove-bypass'; prefix: string }
  | { type: 'list-bypass' }
  | { type: 'listen'; request: ListenRequest }
  | { type: 'listen-unix'; request: UnixListenRequest }
  | { type: 'set-sysctl'; name: string; value: string }
  | { type: 'clean'; device?: string }
  | { type: 'close' };

export type GuardCall = GuardRequest & { id: number };

export type GuardAnswer =
  | { id: number; result?: string | { device: string } | BypassEntry[] }
  | { id: number; error: { message: string; code: string } };
