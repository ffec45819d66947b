// SPDX-License-Identifier: BSD-2-Clause

/**
 * What the gateway needs of the system under it. `freebsd/`, `linux/` and `memory/` implement these interfaces and
 * `select.ts` picks one. Nothing above this file knows which it is.
 *
 *   client SYN -> Interceptor -> (gateway decides, plans) -> MptcpConnector -> Relay
 *                                   LispDataPlane carries every subflow, ControlTransport the mapping system's words
 */
import type { Mapping, Path } from '../lisp/mapping.js';

export interface Endpoint {
  address: string;
  port: number;
}

/** A TCP 5-tuple as seen from this host. */
export interface Flow {
  local: Endpoint;
  remote: Endpoint;
}

/** A socket owned by the platform; opaque to everyone else (a descriptor number on real platforms). */
export type SocketHandle = number & { readonly __socket?: unique symbol };

/** A failed system operation, with the errno's name so that the failure can be mirrored to the client. */
export class PlatformError extends Error {
  constructor(
    message: string,
    /** 'ECONNREFUSED', 'ETIMEDOUT', 'ENETUNREACH', 'EADDRINUSE', ... */
    readonly code: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'PlatformError';
  }
}

// ---------------------------------------------------------------- interception

export interface InterceptRules {
  /** Client side interfaces; empty means every interface. */
  interfaces: string[];
  /** Inclusive ranges of destination ports. */
  ports: { from: number; to: number }[];
  /** Destination prefixes to intercept. Empty means everything. */
  include: string[];
  exclude: string[];
  /** What the client side speaks: TCP (access role) or MPTCP (data-centre role). */
  protocol: 'tcp' | 'mptcp';
}

export interface ClientFlow {
  readonly client: Endpoint;
  /** Where the client wanted to go. */
  readonly destination: Endpoint;
  /** true: the SYN is held, the client's handshake is not yet answered (FreeBSD). false: accepted already (Linux). */
  readonly held: boolean;
  /**
   * Completes the client's handshake and yields its socket, ownership passes to the caller.
   * @throws PlatformError when the client has gone.
   */
  accept(): Promise<SocketHandle>;
  /** Lets the flow pass untouched. Only possible while held; returns false where it is not. */
  bypass(): boolean;
  /** Mirrors a failure of the server side: RST (after accept) or refused/unreachable (held). */
  refuse(code: string): void;
}

export interface Interceptor {
  /** Installs rules and starts yielding flows. @throws PlatformError, and then nothing is left installed. */
  start(rules: InterceptRules, onFlow: (flow: ClientFlow) => void): Promise<void>;
  /** Replaces the rules in one step; on error the old ones stay. */
  update(rules: InterceptRules): Promise<void>;
  /** Destinations known to have no mapping: not intercepted for `ttlSeconds`. */
  addBypass(prefix: string, ttlSeconds: number): Promise<void>;
  removeBypass(prefix: string): Promise<void>;
  listBypass(): Promise<{ prefix: string; expiresInSeconds: number }[]>;
  /** New connections are no longer intercepted (they pass unaccelerated); accepted ones go on. */
  stopAccepting(): Promise<void>;
  /** Removes every rule and route. */
  stop(): Promise<void>;
}

// ---------------------------------------------------------------- MPTCP

export interface ConnectOptions {
  /** Local addresses to choose from: the gateway's EID prefix ('nat') or the client's own address ('client'). */
  source: { prefix: string } | { address: string; port?: number };
  remote: Endpoint;
  /** false: plain TCP (bypass after accept, server known not to speak MPTCP). */
  multipath: boolean;
  /** false: by the host's ordinary routes; true: through the LISP data plane. */
  viaLisp: boolean;
  timeoutMs: number;
  congestionControl?: string;
  /** TCP_NOTSENT_LOWAT, octets. */
  notSentLowat?: number;
  /** Called with the chosen 5-tuple before the SYN leaves; this is where the flow is pinned to its path. */
  beforeSyn(flow: Flow): void;
}

export interface SubflowRequest {
  /** Local address, normally that of the first subflow; the connector picks a free port. */
  localAddress: string;
  remote: Endpoint;
  backup?: boolean;
  /** As above: pin before the SYN with MP_JOIN leaves. */
  beforeSyn(flow: Flow): void;
}

export interface Subflow {
  /** Unique within the connection, stable; the first subflow is 0. */
  readonly id: number;
  readonly flow: Flow;
  readonly state: 'joining' | 'established' | 'closed';
  readonly backup: boolean;
}

export interface SubflowInfo extends Subflow {
  /** Octets as TCP counts them; undefined where the system does not tell. */
  bytesSent?: number;
  bytesReceived?: number;
  retransmits?: number;
  rttMs?: number;
  congestionWindow?: number;
}

export type MptcpEvent =
  /** Further subflows can be added from now on. */
  | { type: 'established' }
  /** The peer does not speak MPTCP or fell back: one subflow of plain TCP. */
  | { type: 'fallback' }
  | { type: 'subflow-established'; subflow: Subflow }
  /** `refused`: the peer closed it at once (its subflow limit). */
  | { type: 'subflow-closed'; subflow: Subflow; code?: string; refused?: boolean }
  | { type: 'announced'; address: string; port?: number; addressId: number }
  | { type: 'closed' };

export interface MptcpConnection {
  readonly socket: SocketHandle;
  readonly flow: Flow;
  /** 'tcp' after fallback or when multipath was not asked for. */
  readonly protocol: 'mptcp' | 'tcp';
  readonly token?: number;
  subflows(): SubflowInfo[];
  /** @throws PlatformError EAGAIN before 'established', ELIMIT when the peer takes no more, EADDRINUSE, ... */
  addSubflow(request: SubflowRequest): Promise<Subflow>;
  removeSubflow(id: number): Promise<void>;
  /** MP_PRIO (RFC 8684 section 3.3.8). */
  setBackup(id: number, backup: boolean): Promise<void>;
  /**
   * Sends what has arrived an acknowledgement once more, for a system that may forget the DATA_ACK of data that came while the socket
   * was being read; absent where none does. Never throws.
   */
  acknowledge?(): void;
  /** Sends a few octets. Only while the relay has not taken the socket. @throws PlatformError */
  write?(octets: Uint8Array): void;
  onEvent(listener: (event: MptcpEvent) => void): void;
  /** Closes the socket with a reset. Only while the relay has not taken it: the client went away meanwhile. */
  abandon(): void;
  /** Forgets the connection (the socket itself belongs to the relay by then). */
  dispose(): void;
}

export interface MptcpConnector {
  readonly multipath: boolean;
  start(): Promise<void>;
  /** Resolves when the connection is up. @throws PlatformError with the errno to mirror. */
  connect(options: ConnectOptions): Promise<MptcpConnection>;
  stop(): Promise<void>;
}

// ---------------------------------------------------------------- LISP data plane

export interface PlanePin {
  flow: Flow;
  iid: number;
  path: Path;
  /** true: learnt from decapsulated packets; false: set by the gateway. */
  gleaned: boolean;
}

/** Counters of one path, from the data plane. */
export interface PathCounters extends Path {
  packetsSent: number;
  bytesSent: number;
  packetsReceived: number;
  bytesReceived: number;
  /** Milliseconds of a monotonic clock; when something was last decapsulated from this path. */
  lastReceivedMs?: number;
}

export interface PlaneStats {
  encapsulated: number;
  decapsulated: number;
  /** Drops by cause, e.g. 'no-mapping', 'truncated-inner', 'source-rloc-mismatch'. */
  drops: Record<string, number>;
  mappings: number;
  pins: number;
  queued: number;
}

export type PlaneEvent =
  /** A packet towards (or, for source checks, from) an EID without mapping. Rate-limited. */
  | { type: 'miss'; iid: number; eid: string; reason: 'encapsulate' | 'source-check' }
  | { type: 'gleaned'; pin: PlanePin }
  /** A packet came from `rloc` for an EID that is not of this site (any more). Rate-limited. */
  | { type: 'stray'; iid: number; source: string; destination: string; rloc: string }
  /** The underlay lowered a path's MTU; octets of the inner packet. */
  | { type: 'path-mtu'; path: Path; mtu: number };

export interface PlaneOptions {
  device: string;
  iid: number;
  /** RLOCs of this host; one encapsulating socket each. */
  localRlocs: string[];
  /** EIDs of this site: decapsulated packets are accepted only towards these. */
  localEids: string[];
  /** EID prefixes whose packets the host's routing sends into the device. */
  routes: string[];
  mtu?: number;
  /** Decapsulate only from an RLOC of the inner source's mapping. */
  sourceCheck: boolean;
  glean: boolean;
}

export interface LispDataPlane {
  /** 'user' (TUN), 'kernel' (lisp.ko, eBPF) or 'memory'. */
  readonly kind: string;
  start(
    options: PlaneOptions,
    onEvent: (event: PlaneEvent) => void,
  ): Promise<{ device: string; mtu: number }>;
  /** Replaces RLOCs, EIDs, routes and switches without disturbing mappings and pins. */
  update(options: PlaneOptions): Promise<void>;
  setMapping(mapping: Mapping): void;
  deleteMapping(iid: number, eid: string): void;
  listMappings(): {
    iid: number;
    eid: string;
    locators: { rloc: string; priority: number; weight: number }[];
  }[];
  /** A path that must not be chosen by priority and weight (a probe failed); pins to it stay. */
  setPathState(path: Path, up: boolean): void;
  /** Synchronous: when it returns, the next packet of the flow takes the path. Replaces an older pin. */
  pin(flow: Flow, path: Path, iid?: number): void;
  unpin(flow: Flow, iid?: number): void;
  listPins(): PlanePin[];
  paths(): PathCounters[];
  stats(): PlaneStats;
  stop(): Promise<void>;
}

// ---------------------------------------------------------------- relay

export type CloseReason =
  | 'finished'
  | 'client-reset'
  | 'server-reset'
  | 'idle-timeout'
  | 'half-open-timeout'
  | 'killed'
  | 'drain'
  | 'error';

export interface RelayOptions {
  idleTimeoutMs: number;
  /** One side has closed its direction and nothing has moved since. */
  halfOpenTimeoutMs: number;
  /** Keepalive on both sockets, seconds of idleness; 0 for none. */
  keepaliveSeconds: number;
  /** The server has gone quiet in the middle of a burst, and may wait for an acknowledgement: see MptcpConnection.acknowledge. */
  onStarved?: () => void;
}

export interface RelayCounters {
  /** Octets from client to server and from server to client. */
  up: number;
  down: number;
}

export interface RelayReport extends RelayCounters {
  reason: CloseReason;
  /** errno's name when reason is 'error' or a reset came with one. */
  code?: string;
  durationMs: number;
  /** The server side's subflows as the system counted them just before the socket was closed, where it tells. */
  subflows?: { flow: Flow; bytesSent: number; bytesReceived: number; retransmits: number }[];
}

export interface RelaySession {
  counters(): RelayCounters;
  /** Never rejects. Both sockets are closed when it resolves. */
  readonly closed: Promise<RelayReport>;
  /** RST towards both sides. */
  abort(reason: CloseReason): void;
}

export interface Relay {
  start(): Promise<void>;
  /** Takes ownership of both sockets. */
  run(client: SocketHandle, server: SocketHandle, options: RelayOptions): RelaySession;
  sessions(): number;
  stop(): Promise<void>;
}

// ---------------------------------------------------------------- control

export interface Datagram {
  /** RLOC it was received on, or is to be sent from. */
  local: string;
  remote: Endpoint;
  data: Uint8Array;
}

export interface ControlTransport {
  /** Opens UDP `port` (4342) on each address. */
  start(addresses: string[], port: number, onDatagram: (datagram: Datagram) => void): Promise<void>;
  update(addresses: string[]): Promise<void>;
  /** Never throws: a datagram that cannot be sent is counted as lost. */
  send(datagram: Datagram): void;
  stop(): Promise<void>;
}

// ---------------------------------------------------------------- the whole

export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** One thing `amptcp doctor` looks at on this host. */
export interface Finding {
  name: string;
  ok: boolean;
  /** What was found. */
  detail: string;
  /** What to type or change, when not ok. */
  remedy?: string;
}

/** What the host's routing must know beside the interceptor's rules and the data plane's device. */
export interface HostOptions {
  /** Packets from an RLOC with a gateway leave by that gateway. */
  rlocs: { address: string; interface?: string; gateway?: string }[];
  /** EID prefixes this host answers for itself (`intercept.nat`). */
  localPrefixes: string[];
  /** EID prefixes of clients whose own addresses the gateway connects from (`intercept.source` = "client"). */
  clientPrefixes?: string[];
}

/** What a measurement of a path's MTU found: octets of the outer IP packet. */
export type PathMtu =
  | {
      state: 'measured';
      mtu: number;
      /** Larger packets vanish without a word, so that nobody adapts to it. */
      blackHole: boolean;
    }
  | { state: 'unknown'; reason: string };

export interface Platform {
  readonly name: 'freebsd' | 'linux' | 'memory';
  readonly interceptor: Interceptor;
  readonly connector: MptcpConnector;
  readonly plane: LispDataPlane;
  readonly relay: Relay;
  readonly control: ControlTransport;
  readonly clock: Clock;
  /** Routes of the host beside those of rules and device; before start, and again at a reload. */
  configure?(options: HostOptions): Promise<void>;
  /** The last step of a stop: takes back every change to the host. */
  close?(): Promise<void>;
  /** Addresses on interfaces that are up and have a carrier. */
  liveAddresses?(): string[];
  /** The largest outer packet of up to `wanted` octets that gets to a remote RLOC and back uncut. Never rejects. */
  measurePathMtu?(path: Path, wanted: number): Promise<PathMtu>;
  /** What is missing on this host for the given roles. Needs no privilege. */
  doctor(): Promise<Finding[]>;
  /** Removes what an earlier, killed process left behind (rules, routes, device). */
  clean(): Promise<void>;
}
