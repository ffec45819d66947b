// SPDX-License-Identifier: BSD-2-Clause

/** The daemon's log: one JSON object a line on standard output, for whatever collects it (journald, daemon(8), a file). */
import { destination, pino, stdSerializers, stdTimeFunctions, type Logger } from 'pino';

export type { Logger } from 'pino';

/** Written synchronously: a line that explains an exit must be out before the exit. */
export const createLog = (level: string): Logger =>
  pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.err },
    },
    destination({ fd: 1, sync: true }),
  );
