// SPDX-License-Identifier: BSD-2-Clause

/** The configuration as the program uses it: every default filled in, every prefix canonical. See amptcpd.conf(5). */

export type Role = 'access' | 'data-centre' | 'xtr' | 'map-server';

export type AuthAlgorithm = 'hmac-sha-256-128-hkdf' | 'hmac-sha-256-128' | 'hmac-sha-1-96';

export interface RlocConfig {
  address: string;
  /** Outer packets from this RLOC leave here; with `gateway`, the daemon owns a source route for it. */
  interface?: string;
  gateway?: string;
  priority: number;
  weight: number;
}

export interface KeyConfig {
  keyId: number;
  key: string;
  algorithm: AuthAlgorithm;
}

export interface StaticMappingConfig {
  eid: string;
  iid: number;
  rlocs: { address: string; priority: number; weight: number }[];
}

export interface Config {
  roles: Role[];
  /** Without it the daemon runs unsplit, as whoever started it. */
  user?: string;
  group?: string;
  stateDir: string;
  api: { socket: string; group?: string; mode: number };
  log: { level: 'trace' | 'debug' | 'info' | 'warn' | 'error' };
  /** This host's RLOCs. */
  rlocs: RlocConfig[];
  lisp: {
    iid: number;
    device: string;
    /** 'auto': in the kernel where it takes the programs, else in user space. */
    plane: 'auto' | 'user' | 'kernel';
    mtu?: number;
    /** EID prefixes routed into the device for every packet of this host (xtr and data-centre roles). */
    routes: string[];
    sourceCheck: boolean;
    glean: boolean;
    mapResolvers: string[];
    mapServers: (KeyConfig & { address: string; proxyReply: boolean })[];
    /** EIDs of this site, registered and answered for. */
    database: { eid: string; iid: number; ttlSeconds: number; rlocs: RlocConfig[] }[];
    mappings: StaticMappingConfig[];
    requestTimeoutMs: number;
    requestRetries: number;
    registerIntervalSeconds: number;
    probe: { intervalMs: number; timeoutMs: number; failures: number };
  };
  /** access and data-centre roles. */
  intercept: {
    interfaces: string[];
    ports: { from: number; to: number }[];
    include: string[];
    exclude: string[];
    source: 'nat' | 'client';
    /** EID prefixes of the gateway itself, one per address family, for source = "nat". */
    nat: string[];
    holdMs: number;
    holdMax: number;
  };
  mptcp: { maxSubflows: number; connectTimeoutMs: number; congestionControl?: string; notSentLowat: number };
  relay: {
    idleTimeoutSeconds: number;
    halfOpenTimeoutSeconds: number;
    keepaliveSeconds: number;
    drainSeconds: number;
    threads: number;
  };
  /** map-server role. */
  mapServer: {
    addresses: string[];
    sites: (KeyConfig & {
      name: string;
      eids: { prefix: string; iid: number; acceptMoreSpecifics: boolean }[];
    })[];
  };
}
