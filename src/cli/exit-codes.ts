// SPDX-License-Identifier: BSD-2-Clause

/** What the exit status of `amptcp` means. Stable: scripts rely on it. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notRunning: 3,
  noPermission: 4,
  notFound: 5,
  refused: 6,
  checkFailed: 7,
  timeout: 8,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANING: Readonly<Record<ExitCode, string>> = {
  0: 'Success.',
  1: 'Something else failed; the message says what.',
  2: 'Wrong usage: an argument or a flag is missing, unknown or malformed.',
  3: 'The daemon is not running.',
  4: "The user may not reach the daemon's socket.",
  5: 'What was named does not exist.',
  6: 'The daemon refused: it exists already, is owned by the configuration, or the peer takes no more.',
  7: 'A check found faults (doctor, config check, lab run).',
  8: 'No answer in time.',
};

/** Of every command. */
export const EXIT_COMMON: readonly ExitCode[] = [EXIT.ok, EXIT.failure, EXIT.usage];
/** Of every command that talks to the daemon. */
export const EXIT_DAEMON: readonly ExitCode[] = [
  ...EXIT_COMMON,
  EXIT.notRunning,
  EXIT.noPermission,
  EXIT.timeout,
];
