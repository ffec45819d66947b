// SPDX-License-Identifier: BSD-2-Clause

/**
 * Fourth stage: the server side. The first path is pinned before its SYN leaves; a path on which nothing answers is no
 * reason to give up while there is another one. What the server itself says (refused, reset) is final.
 */
import type { Path } from '../lisp/mapping.js';
import {
  PlatformError,
  type Clock,
  type ConnectOptions,
  type Endpoint,
  type Flow,
  type MptcpConnection,
  type MptcpConnector,
} from '../platform/platform.js';
import type { Pins } from './pins.js';

export interface ConnectSettings {
  connectTimeoutMs: number;
  congestionControl?: string;
  notSentLowat: number;
}

export interface ConnectRequest {
  source: ConnectOptions['source'];
  remote: Endpoint;
  iid: number;
  multipath: boolean;
  /** In order of preference. Empty: by the host's ordinary routes. */
  paths: readonly Path[];
  settings: ConnectSettings;
}

export interface Connected {
  link: MptcpConnection;
  path?: Path;
}

/** The path, not the server, is at fault. */
const PATH_TROUBLE = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN']);

const SHORT_ATTEMPT_MS = 3000;

/** @throws PlatformError of the last attempt. */
export async function connect(
  connector: MptcpConnector,
  pins: Pins,
  clock: Clock,
  request: ConnectRequest,
  onPathTrouble: (path: Path, error: PlatformError) => void,
): Promise<Connected> {
  const { settings, paths } = request;
  const common = {
    source: request.source,
    remote: request.remote,
    multipath: request.multipath,
    congestionControl: settings.congestionControl,
    notSentLowat: settings.notSentLowat,
  };
  if (paths.length === 0) {
    const link = await connector.connect({
      ...common,
      viaLisp: false,
      timeoutMs: settings.connectTimeoutMs,
      beforeSyn: () => undefined,
    });
    return { link };
  }
  const deadline = clock.now() + settings.connectTimeoutMs;
  for (let attempt = 0; ; attempt++) {
    const path = paths[attempt]!;
    const left = paths.length - attempt;
    let pinned: Flow | undefined;
    try {
      const link = await connector.connect({
        ...common,
        viaLisp: true,
        // Each path gets an equal share of the time that is left, and no more than a few SYNs where another one waits.
        timeoutMs: Math.max(
          1,
          Math.min(left > 1 ? SHORT_ATTEMPT_MS : Infinity, Math.floor((deadline - clock.now()) / left)),
        ),
        beforeSyn: (flow) => {
          if (pinned !== undefined) pins.drop(pinned);
          pins.set(flow, path, request.iid);
          pinned = flow;
        },
      });
      return { link, path };
    } catch (error) {
      if (pinned !== undefined) pins.drop(pinned);
      if (!(error instanceof PlatformError) || !PATH_TROUBLE.has(error.code)) throw error;
      onPathTrouble(path, error);
      if (left === 1 || clock.now() >= deadline) throw error;
    }
  }
}
