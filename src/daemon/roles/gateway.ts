// SPDX-License-Identifier: BSD-2-Clause

/** The roles that take part in clients' connections: access (TCP in, MPTCP out) and data-centre (MPTCP in, TCP out). */
import type { MappingSystem } from '../../lisp/mapping-system.js';
import { Gateway, type GatewayOptions } from '../../gateway/gateway.js';
import type { ConnectionRecord } from '../../gateway/account.js';
import type { Platform } from '../../platform/platform.js';
import type { Config } from '../config.types.js';
import type { Logger } from '../log.js';

export const proxies = (config: Config): boolean =>
  config.roles.includes('access') || config.roles.includes('data-centre');

export const gatewayOptions = (config: Config): GatewayOptions => ({
  intercept: {
    role: config.roles.includes('data-centre') ? 'data-centre' : 'access',
    interfaces: config.intercept.interfaces,
    ports: config.intercept.ports,
    include: config.intercept.include,
    exclude: config.intercept.exclude,
    source: config.intercept.source,
    nat: config.intercept.nat,
    holdMs: config.intercept.holdMs,
    holdMax: config.intercept.holdMax,
  },
  iid: config.lisp.iid,
  rlocs: config.rlocs.map(({ address, priority, weight }) => ({ address, priority, weight })),
  connect: {
    connectTimeoutMs: config.mptcp.connectTimeoutMs,
    congestionControl: config.mptcp.congestionControl,
    notSentLowat: config.mptcp.notSentLowat,
  },
  maxSubflows: config.mptcp.maxSubflows,
  relay: config.relay,
});

/** What went well at 'info', what did not at 'warn': one line a connection. */
export const logRecord =
  (log: Logger) =>
  (record: ConnectionRecord): void => {
    const level = record.reason === 'connect-failed' || record.reason === 'error' ? 'warn' : 'info';
    log[level]({ event: 'connection-closed', ...record }, sentence(record));
  };

const sentence = ({ destination, reason, code }: ConnectionRecord): string =>
  reason === 'connect-failed'
    ? `could not connect to ${destination}: ${code ?? 'no reason given'}`
    : `connection to ${destination} closed: ${reason}${code === undefined ? '' : ` (${code})`}`;

export const createGateway = (
  platform: Platform,
  mappings: MappingSystem,
  config: Config,
  log: Logger,
): Gateway => new Gateway({ platform, mappings, log, onRecord: logRecord(log) }, gatewayOptions(config));

/** A data-centre gateway without RLOCs of its own asks nobody. */
export const NO_MAPPINGS: MappingSystem = {
  lookup: () => undefined,
  resolve: () =>
    Promise.resolve({ status: 'unreachable', reason: 'this daemon has no LISP role', retryAfterMs: 60_000 }),
  list: () => [],
  get: () => undefined,
  set: () => {
    throw new Error('this daemon has no LISP role');
  },
  delete: () => false,
  flush: () => 0,
  onChange: () => () => undefined,
  onPathChange: () => () => undefined,
  paths: () => [],
  path: (path) => ({ ...path, state: 'unknown', reason: 'this daemon has no LISP role' }),
  setLivePaths: () => undefined,
  suspectPath: () => undefined,
  notePathReceived: () => undefined,
  notePathMtu: () => undefined,
  probe: () => Promise.resolve([]),
};
