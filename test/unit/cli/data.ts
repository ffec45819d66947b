// SPDX-License-Identifier: BSD-2-Clause

/** A gateway in the middle of its work. */
import type { Connection, Mapping, PathInfo, Registration, Status } from '../../../src/daemon/api/schema.js';

export const status: Status = {
  version: '0.1.0',
  platform: 'linux',
  pid: 4711,
  state: 'running',
  roles: ['access'],
  configFile: '/etc/amptcpd.conf',
  startedAt: '2026-01-02T03:04:05.000Z',
  uptimeSeconds: 93784,
  intercepting: true,
  connections: { active: 2, held: 1, total: 40, failed: 3, direct: 4 },
  bytes: { up: 1_234_567, down: 98_765_432_100 },
  rlocs: [
    { address: '203.0.113.2', interface: 'em1', priority: 1, weight: 50 },
    { address: '203.0.114.2', priority: 1, weight: 50 },
  ],
  paths: { up: 3, down: 1, unknown: 0 },
  mapServers: [
    { address: '198.51.100.10', state: 'registered', lastNotifyAt: '2026-01-02T03:04:06.000Z' },
    { address: '198.51.100.11', state: 'failed', reason: 'no Map-Notify' },
  ],
  plane: {
    kind: 'user',
    device: 'lisp0',
    mtu: 1460,
    encapsulated: 1000,
    decapsulated: 2000,
    drops: { 'no-mapping': 7, 'truncated-inner': 0, 'source-rloc-mismatch': 1 },
    mappings: 2,
    pins: 1,
    queued: 0,
  },
  warnings: ['no answer from map-server 198.51.100.11'],
};

export const mappings: Mapping[] = [
  {
    iid: 0,
    eid: '198.18.1.0/24',
    locators: [
      { rloc: '203.0.123.2', priority: 1, weight: 50, reachable: true, state: 'up' },
      { rloc: '203.0.124.2', priority: 1, weight: 50, reachable: true, state: 'down' },
    ],
    action: 'no-action',
    source: 'map-reply',
    ttlSeconds: 900,
    expiresInSeconds: 754.2,
  },
  {
    iid: 7,
    eid: '2001:db8:1::/48',
    locators: [{ rloc: '2001:db8:f1::2', priority: 255, weight: 0, reachable: false, state: 'unknown' }],
    action: 'no-action',
    source: 'static',
  },
  {
    iid: 0,
    eid: '198.19.0.0/16',
    locators: [],
    action: 'natively-forward',
    source: 'map-reply',
    ttlSeconds: 60,
    expiresInSeconds: 12.34,
  },
];

export const connections: Connection[] = [
  {
    id: 42,
    client: { address: '10.10.0.2', port: 40123 },
    destination: { address: '198.18.1.10', port: 443 },
    source: { address: '192.0.2.1', port: 51234 },
    state: 'established',
    protocol: 'mptcp',
    iid: 0,
    token: 0xbeef,
    subflows: [
      {
        id: 0,
        local: { address: '192.0.2.1', port: 51234 },
        remote: { address: '198.18.1.10', port: 443 },
        path: { local: '203.0.113.2', remote: '203.0.123.2' },
        state: 'established',
        backup: false,
        bytesSent: 1000,
        bytesReceived: 25_000_000,
        retransmits: 2,
        rttMs: 12.34,
      },
      {
        id: 1,
        local: { address: '192.0.2.1', port: 51235 },
        remote: { address: '198.18.1.10', port: 443 },
        path: { local: '203.0.114.2', remote: '203.0.124.2' },
        state: 'established',
        backup: true,
        bytesSent: 0,
        bytesReceived: 24_000_000,
        retransmits: 0,
        rttMs: 8.25,
      },
      {
        id: 2,
        local: { address: '192.0.2.1', port: 51236 },
        remote: { address: '198.18.1.10', port: 443 },
        path: { local: '203.0.113.2', remote: '203.0.125.2' },
        state: 'refused',
        backup: false,
      },
    ],
    bytes: { up: 999, down: 49_000_000 },
    ageMs: 8123,
  },
  {
    id: 43,
    client: { address: '2001:db8::2', port: 50000 },
    destination: { address: '2001:db8:9::1', port: 80 },
    state: 'held',
    protocol: 'tcp',
    iid: 0,
    subflows: [],
    bytes: { up: 0, down: 0 },
    ageMs: 120,
  },
];

export const paths: PathInfo[] = [
  {
    local: '203.0.113.2',
    remote: '203.0.123.2',
    state: 'up',
    reason: 'probe answered',
    rttMs: 4.56,
    mtu: 1464,
    packetsSent: 10,
    bytesSent: 1500,
    packetsReceived: 20,
    bytesReceived: 30_000_000_000,
    connections: 1,
  },
  {
    local: '203.0.114.2',
    remote: '203.0.124.2',
    state: 'down',
    reason: 'probe timed out',
    packetsSent: 0,
    bytesSent: 0,
    packetsReceived: 0,
    bytesReceived: 0,
    connections: 0,
  },
];

export const registrations: Registration[] = [
  {
    site: 'dc1',
    iid: 0,
    eid: '198.18.1.0/24',
    state: 'registered',
    from: '203.0.123.2',
    locators: [
      { rloc: '203.0.123.2', priority: 1, weight: 50 },
      { rloc: '203.0.124.2', priority: 1, weight: 50 },
    ],
    lastSeenSecondsAgo: 12,
  },
  {
    iid: 0,
    eid: '198.18.2.0/24',
    state: 'rejected',
    reason: 'authentication failed',
    from: '203.0.133.2',
    locators: [],
    lastSeenSecondsAgo: 0.5,
    count: 3,
  },
];
