// SPDX-License-Identifier: BSD-2-Clause

/** The daemon's log: one JSON object a line on standard output, for whatever collects it (journald, daemon(8), a file). */
import { writeSync } from 'node:fs';
import { pino, stdSerializers, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';

export type { Logger } from 'pino';

/** So many octets are written without waiting for the end of the turn. */
const MANY = 65_536;

/**
 * Lines of one turn of the loop are one write: a busy gateway has a line for every connection. Written synchronously, and before
 * the process exits: the line that explains an exit must be out by then.
 */
class Lines implements DestinationStream {
  #waiting: string[] = [];
  #octets = 0;

  constructor(private readonly descriptor: number) {
    process.on('exit', () => this.flush());
  }

  write(line: string): void {
    if (this.#waiting.push(line) === 1) setImmediate(() => this.flush());
    this.#octets += line.length;
    if (this.#octets >= MANY) this.flush();
  }

  flush(): void {
    let rest = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#octets = 0;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.descriptor, rest));
      } catch (error) {
        // A pipe whose reader is slow, and non-blocking for its other end's sake: it is waited for. Nobody reads any more: lost.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
        Atomics.wait(PAUSE, 0, 0, 5);
      }
    }
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

export const createLog = (level: string): Logger =>
  pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.err },
    },
    new Lines(1),
  );
