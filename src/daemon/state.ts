// SPDX-License-Identifier: BSD-2-Clause

/**
 * What survives a restart: mappings added through the API, and the control plane's identity and nonce (a Map-Register must
 * carry a larger nonce than the one before, RFC 9301 section 5.6). A file is whole or it is the old one: written beside,
 * synced, renamed over, and the directory synced.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export function writeAtomically(path: string, content: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeSync(file, content);
    fsyncSync(file);
  } catch (error) {
    closeSync(file);
    unlinkSync(temporary);
    throw error;
  }
  closeSync(file);
  renameSync(temporary, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(`${path} is damaged (${(error as Error).message}); repair or remove it`);
  }
}

export interface SavedMapping {
  eid: string;
  iid: number;
  locators: { rloc: string; priority: number; weight: number }[];
}

export interface SavedControl {
  xtrId: string;
  registerNonce: string;
}

export class State {
  private readonly mappings = new Map<string, SavedMapping>();

  /** @throws Error when the directory cannot be made or a file is damaged. */
  constructor(private readonly directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o750 });
    for (const mapping of this.read('mappings.json', isSavedMappings) ?? []) {
      this.mappings.set(keyOf(mapping), mapping);
    }
  }

  private read<T>(name: string, check: (value: unknown) => value is T): T | undefined {
    const path = join(this.directory, name);
    const value = readJson(path);
    if (value === undefined) return undefined;
    if (!check(value)) throw new Error(`${path} has not the expected content; repair or remove it`);
    return value;
  }
  private write(name: string, value: unknown): void {
    writeAtomically(join(this.directory, name), `${JSON.stringify(value, undefined, 2)}\n`);
  }

  listMappings(): SavedMapping[] {
    return [...this.mappings.values()];
  }
  /** @throws Error when it cannot be written; then nothing has changed. */
  addMapping(mapping: SavedMapping): void {
    this.replace(mapping, keyOf(mapping));
  }
  /** @returns whether it was there. @throws Error when it cannot be written; then nothing has changed. */
  removeMapping(eid: string, iid: number): boolean {
    const key = keyOf({ eid, iid });
    if (!this.mappings.has(key)) return false;
    this.replace(undefined, key);
    return true;
  }
  private replace(mapping: SavedMapping | undefined, key: string): void {
    const next = new Map(this.mappings);
    if (mapping === undefined) next.delete(key);
    else next.set(key, mapping);
    this.write('mappings.json', [...next.values()]);
    this.mappings.clear();
    for (const [name, value] of next) this.mappings.set(name, value);
  }

  loadControl(): SavedControl | undefined {
    return this.read('control.json', isSavedControl);
  }
  saveControl(control: SavedControl): void {
    this.write('control.json', control);
  }
}

const keyOf = ({ eid, iid }: { eid: string; iid: number }): string => `${iid} ${eid}`;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isSavedMappings = (value: unknown): value is SavedMapping[] =>
  Array.isArray(value) &&
  value.every(
    (entry) =>
      isObject(entry) &&
      typeof entry.eid === 'string' &&
      typeof entry.iid === 'number' &&
      Array.isArray(entry.locators) &&
      entry.locators.every(
        (locator) =>
          isObject(locator) &&
          typeof locator.rloc === 'string' &&
          typeof locator.priority === 'number' &&
          typeof locator.weight === 'number',
      ),
  );

const isSavedControl = (value: unknown): value is SavedControl =>
  isObject(value) && typeof value.xtrId === 'string' && typeof value.registerNonce === 'string';
