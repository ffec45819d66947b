// SPDX-License-Identifier: BSD-2-Clause
import { EXIT, type ExitCode } from './exit-codes.js';
import { printable } from './output.js';

export interface FailureDetail {
  line?: number;
  key?: string;
  message: string;
}

/** A failure the user is told about in a sentence, never as a stack. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly exit: ExitCode,
    /** For programs: stable. */
    readonly code: string,
    /** What to do about it. */
    readonly hint?: string,
    readonly details: FailureDetail[] = [],
  ) {
    super(message);
    this.name = 'Failure';
  }
}

export const usage = (message: string, hint?: string): Failure =>
  new Failure(message, EXIT.usage, 'usage', hint);

interface OclifError extends Error {
  oclif?: { exit?: number };
  /** Set by everything that the argument parser throws. */
  parse?: unknown;
}

/** Whatever was thrown, by us or by oclif, as one Failure. Undefined: an orderly exit without an error. */
export function asFailure(thrown: unknown): Failure | undefined {
  if (thrown instanceof Failure) return thrown;
  const error = (thrown instanceof Error ? thrown : new Error(String(thrown))) as OclifError;
  if (error.message === 'EEXIT: 0') return undefined;
  // A flag's parser rewrites the message: 'Parsing --iid \n\tExpected ...\nSee more help with --help'.
  const flag = /^Parsing (--\S+) \n\t(.*?)(?:\nSee more help with --help)*$/s.exec(error.message);
  if (flag) return usage(`${flag[1]}: ${flag[2]}`);
  if (error.parse !== undefined) return usage(error.message.replace(/\nSee more help with --help$/, ''));
  if (error.oclif !== undefined) {
    return new Failure(error.message, EXIT.usage, 'usage');
  }
  return new Failure(error.message || error.name, EXIT.failure, 'failure');
}

/** The same failure for programs. */
export function failureJson(failure: Failure): Record<string, unknown> {
  return {
    code: failure.code,
    message: failure.message,
    exit: failure.exit,
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    ...(failure.details.length === 0 ? {} : { details: failure.details }),
  };
}

/** 'line 12, rloc[0].priority: expected ...' */
export function failureLine({ line, key, message }: FailureDetail): string {
  const where = [...(line === undefined ? [] : [`line ${line}`]), ...(key === undefined ? [] : [key])];
  return printable(where.length === 0 ? message : `${where.join(', ')}: ${message}`);
}

/** The daemon's messages are half sentences, as they stand in a log. */
const sentence = (text: string, end: string): string =>
  text.replace(/^[a-z](?=[a-z]* )/, (letter) => letter.toUpperCase()) + (/[.:!?]$/.test(text) ? '' : end);

/** ... and for people. */
export function failureText(failure: Failure): string {
  const message = failure.message.split('\n').map(printable).join('\n');
  return [
    `amptcp: ${message.includes('\n') ? message : sentence(message, failure.details.length > 0 ? ':' : '.')}`,
    ...failure.details.map((detail) => `  ${failureLine(detail)}`),
    ...(failure.hint === undefined ? [] : [failure.hint]),
  ].join('\n');
}
