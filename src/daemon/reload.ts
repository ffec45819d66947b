// SPDX-License-Identifier: BSD-2-Clause

/** What differs between two configurations, and what of it has to wait for a restart. Values in, values out. */
import type { Config } from './config.types.js';

/** Sockets, devices and threads that are made once. */
const AT_START = [
  'roles',
  'user',
  'group',
  'stateDir',
  'api',
  'lisp.iid',
  'lisp.device',
  'lisp.plane',
  'relay.threads',
  'mapServer.addresses',
] as const;

export interface ConfigDiff {
  /** Keys as they are written in the file. */
  changed: string[];
  restart: string[];
}

export function diffConfig(before: Config, after: Config): ConfigDiff {
  const diff: ConfigDiff = { changed: [], restart: [] };
  for (const key of leaves(before, after)) {
    if (AT_START.some((prefix) => key === prefix || key.startsWith(`${prefix}.`)))
      diff.restart.push(written(key));
    else diff.changed.push(written(key));
  }
  return diff;
}

/** The new configuration as far as it can take effect now. */
export function applicable(before: Config, after: Config): Config {
  return {
    ...after,
    roles: before.roles,
    user: before.user,
    group: before.group,
    stateDir: before.stateDir,
    api: before.api,
    lisp: { ...after.lisp, iid: before.lisp.iid, device: before.lisp.device, plane: before.lisp.plane },
    relay: { ...after.relay, threads: before.relay.threads },
    mapServer: { ...after.mapServer, addresses: before.mapServer.addresses },
  };
}

/** Paths at which the two differ; tables are gone into, lists are compared whole. */
function leaves(before: unknown, after: unknown, path = ''): string[] {
  if (isTable(before) && isTable(after)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      leaves(before[key], after[key], path === '' ? key : `${path}.${key}`),
    );
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [path];
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const NAMES: Record<string, string> = {
  rlocs: 'rloc',
  iid: 'instance_id',
  mapServers: 'map_server',
  mappings: 'mapping',
  sites: 'site',
  notSentLowat: 'notsent_lowat',
};
const written = (key: string): string =>
  key
    .split('.')
    .map((part) => NAMES[part] ?? part.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))
    .join('.');
