// SPDX-License-Identifier: BSD-2-Clause

/**
 * How amptcpd ends; the numbers are those of sysexits(3) where it has one. The guard starts the daemon again after any other
 * end than these.
 */
export const EXIT = {
  ok: 0,
  /** Wrong arguments. */
  usage: 64,
  /** Something the roles need is missing on this host, or refused by it. */
  unavailable: 69,
  /** A directory, socket or file could not be made. */
  cannotCreate: 73,
  /** Another amptcpd runs with this configuration. */
  running: 75,
  noPermission: 77,
  /** The configuration has errors. */
  config: 78,
} as const;
