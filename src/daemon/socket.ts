// SPDX-License-Identifier: BSD-2-Clause

/**
 * The UNIX socket of the API, which is also what keeps a second daemon away: whoever answers on it is running. What a killed
 * daemon leaves is a file that nobody answers on, so it is replaced.
 */
import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import type { Config } from './config.types.js';

export class AlreadyRunning extends Error {
  constructor(socket: string) {
    super(`another amptcpd is running: it answers on ${socket}`);
    this.name = 'AlreadyRunning';
  }
}

export const isAnswering = (path: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      // EAGAIN: its queue is full, so there is somebody.
      if (error.code === 'EAGAIN') resolve(true);
      else if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT' || error.code === 'ENOTSOCK')
        resolve(false);
      else reject(error);
    });
  });

/** What http.Server.listen() takes, and what to remove at the end. */
export interface ClaimedSocket {
  listen: { path: string } | { fd: number };
  path: string;
  /** After listening: owner and mode of the file, where this process made it. */
  secure(): void;
}

interface Guard {
  listenUnix(request: { path: string; mode: number; group?: string }): Promise<number>;
}

const DEFAULT_GROUP = 'amptcp';

/** @throws AlreadyRunning, Error */
export async function claimSocket(
  api: Config['api'],
  guard: Guard | undefined,
  warn: (message: string) => void,
): Promise<ClaimedSocket> {
  // The guard has asked before it started this process, which may not be allowed to (nor need it, after a predecessor died).
  if (guard === undefined && (await isAnswering(api.socket))) throw new AlreadyRunning(api.socket);
  if (guard !== undefined) {
    const group = api.group ?? (groupId(DEFAULT_GROUP) === undefined ? undefined : DEFAULT_GROUP);
    const fd = await guard.listenUnix({ path: api.socket, mode: api.mode, group });
    return { listen: { fd }, path: api.socket, secure: () => undefined };
  }
  removeStale(api.socket);
  return {
    listen: { path: api.socket },
    path: api.socket,
    secure: () => {
      chmodSync(api.socket, api.mode);
      const gid = groupId(api.group ?? DEFAULT_GROUP);
      if (gid === undefined) {
        if (api.group !== undefined)
          warn(`there is no group "${api.group}": ${api.socket} keeps the group it has`);
        return;
      }
      try {
        chownSync(api.socket, -1, gid);
      } catch (error) {
        if (api.group !== undefined)
          warn(`${api.socket} keeps the group it has: ${(error as Error).message}`);
      }
    },
  };
}

/** Only ever removes a socket: a mistyped path must not cost a file. */
function removeStale(path: string): void {
  let stat;
  try {
    stat = lstatSync(path);
  } catch {
    return;
  }
  if (!stat.isSocket())
    throw new Error(`${path} is there and is no socket: remove it, or choose another api.socket`);
  unlinkSync(path);
}

export function groupId(name: string, file = '/etc/group'): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  for (const line of text.split('\n')) {
    const [group, , gid] = line.split(':');
    if (group === name && gid !== undefined && /^\d+$/.test(gid)) return Number(gid);
  }
  return undefined;
}
