// SPDX-License-Identifier: BSD-2-Clause

/** Arguments and flags that several commands share, checked before the daemon is bothered with them. */
import { Args, Flags } from '@oclif/core';
import { addressFamily, canonicalAddress, isAddress, parsePrefix, PrefixError } from '../lisp/prefix.js';
import { usage } from './failure.js';

/** @throws Failure */
export function prefixOf(text: string): string {
  try {
    return parsePrefix(text).text;
  } catch (error) {
    if (error instanceof PrefixError)
      throw usage(`${error.message}${/[.?]$/.test(error.message) ? '' : '.'}`);
    throw error;
  }
}

/** @throws Failure */
export function addressOf(text: string, what: string): string {
  if (!isAddress(text)) throw usage(`${what}: ${JSON.stringify(text)} is no IPv4 or IPv6 address.`);
  return canonicalAddress(text);
}

/** @throws Failure */
export function destinationOf(text: string): string {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const family = match?.[1] === undefined ? 4 : 6;
  if (!isAddress(address) || addressFamily(address) !== family || port < 1 || port > 65535) {
    throw usage(`${JSON.stringify(text)} is no destination; expected 198.18.1.10:443 or [2001:db8::10]:443.`);
  }
  return family === 6 ? `[${canonicalAddress(address)}]:${port}` : `${address}:${port}`;
}

export interface RlocArgument {
  address: string;
  priority?: number;
  weight?: number;
}

/** ADDRESS[,PRIORITY[,WEIGHT]]. @throws Failure */
export function rlocOf(text: string): RlocArgument {
  const [address = '', priority, weight, ...rest] = text.split(',');
  const number = (value: string | undefined, name: string, max: number): number | undefined => {
    if (value === undefined) return undefined;
    if (!/^[0-9]{1,3}$/.test(value) || Number(value) > max) {
      throw usage(`${JSON.stringify(text)}: ${name} must be a number from 0 to ${max}.`);
    }
    return Number(value);
  };
  if (rest.length > 0 || !isAddress(address)) {
    throw usage(
      `${JSON.stringify(text)} is no RLOC; expected ADDRESS[,PRIORITY[,WEIGHT]], for example 203.0.113.130,1,50.`,
    );
  }
  return {
    address: canonicalAddress(address),
    priority: number(priority, 'priority', 255),
    weight: number(weight, 'weight', 100),
  };
}

/** Never reads a missing argument from standard input, as oclif would. */
const argument = <T>(parse: (text: string) => T) =>
  Args.custom<T>({ parse: async (text) => parse(text), ignoreStdin: true });

export const prefixArg = argument(prefixOf);
export const rlocArg = argument(rlocOf);
export const textArg = argument((text) => text);

const idArg = (what: string) =>
  argument((text) => {
    if (!/^[0-9]{1,15}$/.test(text)) throw usage(`${JSON.stringify(text)} is no ${what} number.`);
    return Number(text);
  });

export const connectionArg = idArg('connection')({
  description: "Number of the connection, see 'amptcp connection list'.",
  required: true,
});
export const subflowArg = idArg('subflow')({
  description: "Number of the subflow, see 'amptcp subflow list'.",
  required: true,
});

export const iidFlag = Flags.integer({
  description: 'Instance-ID.',
  min: 0,
  max: 0xffffff,
  helpValue: 'NUMBER',
});

export const watchFlags = {
  watch: Flags.boolean({ char: 'w', description: 'Show it again and again until interrupted.' }),
  interval: Flags.integer({
    char: 'n',
    description: 'As --watch, with that many seconds between two looks instead of one.',
    min: 1,
    max: 3600,
    helpValue: 'SECONDS',
  }),
};

export const labFlags = {
  rlocs: Flags.integer({
    description: 'Number of providers, and so of RLOCs.',
    default: 2,
    min: 1,
    max: 8,
    helpValue: 'N',
  }),
  rate: Flags.integer({
    description: 'Rate of each provider in Mbit/s, 0 for as fast as it goes.',
    default: 50,
    min: 0,
    max: 100_000,
    helpValue: 'MBIT/S',
  }),
  ipv6: Flags.boolean({ description: 'IPv6 for EIDs and RLOCs both.' }),
};
