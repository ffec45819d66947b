// SPDX-License-Identifier: BSD-2-Clause

/**
 * Which labs there are: one folder each, with what identifies its processes. Whoever makes a lab first removes those
 * whose processes have ended (a crash, a power cut): only the folder can have stayed, the kernel has removed the rest.
 */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabError, type ProcessIdentity, identity, isAlive } from './process.js';
import type { Family } from './topology.js';

export interface LabState {
  name: string;
  standing: boolean;
  /** Who made it. */
  driver: ProcessIdentity;
  holder?: ProcessIdentity;
  rlocs?: number;
  family?: Family;
}

export interface Registered {
  name: string;
  directory: string;
  save(state: Partial<LabState>): void;
  remove(): void;
}

export const STANDING = 'lab';

const base = (): string => join(tmpdir(), `amptcp-lab-${process.getuid?.() ?? 0}`);
const stateFile = (name: string): string => join(base(), name, 'lab.json');

export function readState(name: string): LabState | undefined {
  try {
    return JSON.parse(readFileSync(stateFile(name), 'utf8')) as LabState;
  } catch {
    return undefined;
  }
}

/** Labs whose holder, or while it is being made whose maker, lives. Others are removed. */
export function listLabs(): LabState[] {
  let names: string[];
  try {
    names = readdirSync(base());
  } catch {
    return [];
  }
  const living: LabState[] = [];
  for (const name of names) {
    const state = readState(name);
    if (state && (isAlive(state.holder) || isAlive(state.driver))) living.push(state);
    else if (state || isOld(name)) remove(name);
  }
  return living;
}

/** A folder without a state is one being made just now, or the rest of an old crash. */
function isOld(name: string): boolean {
  try {
    return Date.now() - statSync(join(base(), name)).mtimeMs > 60_000;
  } catch {
    return false;
  }
}

export function remove(name: string): void {
  rmSync(join(base(), name), { recursive: true, force: true });
}

let count = 0;

/** @throws LabError when a living lab has the name. */
export function register(wanted: string | undefined, standing: boolean): Registered {
  const name = wanted ?? (standing ? STANDING : `run-${process.pid}-${++count}`);
  const living = listLabs();
  if (living.some((state) => state.name === name)) {
    throw new LabError(`a lab named '${name}' stands already; 'amptcp lab down' removes it`);
  }
  const directory = join(base(), name);
  // Searchable by all, so that a daemon that has become another user reaches its own folder.
  mkdirSync(directory, { recursive: true, mode: 0o711 });
  let state: LabState = { name, standing, driver: identity(process.pid)! };
  const save = (changes: Partial<LabState>): void => {
    state = { ...state, ...changes };
    const path = stateFile(name);
    writeFileSync(`${path}.new`, JSON.stringify(state));
    renameSync(`${path}.new`, path);
  };
  save({});
  return { name, directory, save, remove: () => remove(name) };
}
