// SPDX-License-Identifier: BSD-2-Clause

/** The addon's socket parts on Linux, as JavaScript sees them. Failures are Errors with `code` = errno's name. */

/** descriptors.c: opening, passing and closing descriptors. */
export interface NativeDescriptors {
  close(descriptor: number): void;
  /** Closes with RST (TCP) or MP_FASTCLOSE (MPTCP). */
  reset(descriptor: number): void;
  openTun(device: string, vnetHeader: boolean, multiQueue: boolean): { device: string; descriptor: number };
  openListener(address: string, port: number, mptcp: boolean, backlog: number): number;
  /** Replaces what has the name; group and mode are right from the beginning. */
  openUnixListener(path: string, mode: number, gid: number): number;
  localPort(descriptor: number): number;
  socketPair(): [number, number];
  /** Messages with descriptors over a SOCK_SEQPACKET socket; one channel per process. `data` undefined: closed. */
  openChannel(descriptor: number, onMessage: (data: Buffer | undefined, descriptors: number[]) => void): void;
  sendMessage(descriptor: number, data: Uint8Array, descriptors: number[]): void;
  closeChannel(): void;
  /** Raises the soft limit of open files to the hard one; both as they are then. */
  raiseFileLimit(): { soft: number; hard: number };
  /** The kernel kills this process when its parent goes. */
  dieWithParent(): void;
}

export interface AcceptedSocket {
  descriptor: number;
  clientAddress: string;
  clientPort: number;
  destinationAddress: string;
  destinationPort: number;
}

/** listener.c: accepts in a thread of its own. */
export interface NativeListener {
  start(onAccepted: (batch: AcceptedSocket[]) => void): void;
  /** Takes ownership of a listening descriptor. */
  add(descriptor: number): void;
  /** Accepts what has completed its handshake, then closes the listener. */
  remove(descriptor: number): void;
  counters(): { accepted: number; paused: number; failed: number };
  stop(): void;
}

export interface ConnectPreparation {
  address: string;
  port: number;
  mptcp: boolean;
  transparent: boolean;
  /** Local address and port; port 0 leaves the choice to the kernel. */
  localAddress?: string;
  localPort?: number;
  mark?: number;
  congestionControl?: string;
  notSentLowat?: number;
}

export interface NativeSubflowInfo {
  /** The kernel's subflow id; undefined before Linux 6.6. */
  id?: number;
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
  bytesSent: number;
  bytesReceived: number;
  retransmits: number;
  rttMs: number;
  congestionWindow: number;
  /** TCP state, as in include/net/tcp_states.h. */
  state: number;
}

export interface NativeMptcpInfo {
  token: number;
  fallback: boolean;
  remoteKeyReceived: boolean;
  subflows: number;
}

/** mptcp.c: connecting in a thread of its own, generic netlink, information on sockets. */
export interface NativeMptcp {
  start(
    onConnected: (batch: { descriptor: number; error?: string }[]) => void,
    onEvents: (batch: Buffer[], overrun: boolean) => void,
  ): void;
  stop(): void;
  /** Socket with options set and local address bound, before any packet. */
  prepare(preparation: ConnectPreparation): { descriptor: number; localAddress: string; localPort: number };
  /** Whether a socket could be bound there, transparent or not. */
  portFree(address: string, port: number): boolean;
  /** Sends the SYN, now or soon. true: connected already; else the outcome comes to onConnected. */
  connect(descriptor: number, address: string, port: number, timeoutMs: number): boolean;
  info(descriptor: number): NativeMptcpInfo | undefined;
  /** Token 0: a TCP socket as its own only subflow. undefined: no such socket any more. */
  subflows(descriptor: number): { token: number; subflows: NativeSubflowInfo[] } | undefined;
  /** One generic netlink request; the datagrams that answer it. */
  netlink(request: Uint8Array): Buffer[];
  subscribe(group: number): void;
}

/** How a direction's bytes are moved: through a buffer, or a pipe. */
export type RelayMethod = 'copy' | 'splice' | 'join';

export interface NativeRelayReport {
  session: number;
  reason: string;
  code?: string;
  up: number;
  down: number;
  durationMs: number;
  subflows?: NativeSubflowInfo[];
}

/** relay.c: moves the bytes in threads of its own. */
export interface NativeRelay {
  start(
    threads: number,
    up: RelayMethod,
    down: RelayMethod,
    onClosed: (batch: NativeRelayReport[]) => void,
    onStarved: (sessions: number[]) => void,
  ): void;
  /** Takes ownership of both sockets. */
  run(
    client: number,
    server: number,
    idleTimeoutMs: number,
    halfOpenTimeoutMs: number,
    keepaliveSeconds: number,
    tellStarved: boolean,
  ): number;
  /** undefined: the session has ended. */
  counters(session: number): { up: number; down: number } | undefined;
  abort(session: number, reason: string): void;
  sessions(): number;
  stop(): void;
}
