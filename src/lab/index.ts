// SPDX-License-Identifier: BSD-2-Clause

/** The lab as commands see it. */
import { Holder } from './holder.js';
import { Lab } from './lab.js';
import { LabError } from './process.js';
import { type LabReport, exitStatus, jsonReport, tableReport } from './report.js';
import { STANDING, type LabState, listLabs, readState, remove } from './registry.js';
import { type Requirement, missing } from './requirements.js';
import { runScenario } from './run.js';
import { MAX_RLOCS, hostNames } from './topology.js';

export { LabError, jsonReport, tableReport, exitStatus };
export type { LabReport, Requirement };

export interface LabRunOptions {
  /** Providers, and with them RLOCs of each site; 2 unless told, at most MAX_RLOCS. */
  rlocs?: number;
  /** Mbit/s of each provider and direction; 50 unless told, 0 for unshaped. */
  rateMbps?: number;
  /** EIDs and RLOCs both. */
  ipv6?: boolean;
  /** Octets of each transfer; 50,000,000 unless told. */
  bytes?: number;
  /** Run on the memory platform although namespaces would be there. */
  simulate?: boolean;
  /** Where the progress goes; process.stderr unless told, null for nowhere. */
  progress?: NodeJS.WriteStream | NodeJS.WritableStream | null;
}

export interface LabUpOptions {
  rlocs?: number;
  rateMbps?: number;
  ipv6?: boolean;
  progress?: NodeJS.WriteStream | NodeJS.WritableStream | null;
}

export interface LabHost {
  name: string;
  /** What a person types to enter it. */
  enter: string[];
}

export interface StandingLab {
  directory: string;
  hosts: LabHost[];
  /** API sockets of the daemons, for `amptcp --socket`. */
  sockets: { host: string; path: string }[];
}

export { MAX_RLOCS };

/**
 * The main job: network, daemons, transfers direct and through the gateway, checks. Never leaves anything standing.
 * `exitStatus(report)` is what to exit with; `tableReport` and `jsonReport` print it.
 */
export async function runLab(options: LabRunOptions = {}): Promise<LabReport> {
  return runScenario(options);
}

/** @throws LabError when namespaces are not available here, or a lab stands already. */
export async function labUp(options: LabUpOptions = {}): Promise<StandingLab> {
  const problems = await missing();
  if (problems.length > 0) {
    throw new LabError(
      problems.map(({ name, detail, remedy }) => `${name}: ${detail}; ${remedy}`).join('\n'),
    );
  }
  const out = options.progress === undefined ? process.stderr : options.progress;
  const lab = await Lab.create({
    rlocs: options.rlocs ?? 2,
    rateMbps: options.rateMbps ?? 50,
    family: options.ipv6 ? 6 : 4,
    standing: true,
    onStep: (text) => out?.write(`lab: ${text}\n`),
  });
  try {
    await lab.startServers();
    await lab.startIperf();
    await lab.startDaemons();
  } catch (error) {
    await lab.close();
    throw error;
  }
  return {
    directory: lab.directory,
    hosts: hostNames({ rlocs: lab.rlocs, rateMbps: lab.rateMbps }).map((name) => ({
      name,
      enter: lab.enterCommand(name),
    })),
    sockets: [...lab.daemons.keys()].map((host) => ({ host, path: lab.socket(host) })),
  };
}

/** Removes the standing lab. @returns false when there was none. */
export async function labDown(): Promise<boolean> {
  const state = standing();
  if (!state?.holder) return false;
  await Holder.attach(state.holder).destroy();
  remove(state.name);
  return true;
}

/** The command that runs `command` (a shell unless told) in a host of the standing lab. @throws LabError */
export function labEnter(host: string, command: string[] = [process.env.SHELL ?? '/bin/sh']): string[] {
  const state = standing();
  if (!state?.holder) throw new LabError("no lab stands; 'amptcp lab up' makes one");
  const names = hostNames({ rlocs: state.rlocs ?? 2, rateMbps: 0 });
  if (!names.includes(host))
    throw new LabError(`no host '${host}' in the lab; there are ${names.join(', ')}`);
  const [program, args] = Holder.attach(state.holder).enter(host, command);
  return [program, ...args];
}

function standing(): LabState | undefined {
  return listLabs().some(({ name }) => name === STANDING) ? readState(STANDING) : undefined;
}
