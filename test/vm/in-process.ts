// SPDX-License-Identifier: BSD-2-Clause

/** What a daemon needs that runs within a scenario's own process. */
import { join } from 'node:path';
import type { Clock, ControlTransport } from '../../src/platform/platform.js';
import { systemClock } from '../../src/platform/system-clock.js';

/** Where mappings are static, or there are none: nobody is asked, and nobody asks. */
export const noControl: ControlTransport = {
  start: () => Promise.resolve(),
  update: () => Promise.resolve(),
  send: () => undefined,
  stop: () => Promise.resolve(),
};

/** Timers that end with the daemon they belong to, as they would with its process. */
export class MortalClock implements Clock {
  readonly #timers = new Set<unknown>();
  now = (): number => systemClock.now();
  setTimeout(callback: () => void, ms: number): unknown {
    const timer = systemClock.setTimeout(() => {
      this.#timers.delete(timer);
      callback();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }
  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer);
    systemClock.clearTimeout(timer);
  }
  die(): void {
    for (const timer of this.#timers) systemClock.clearTimeout(timer);
    this.#timers.clear();
  }
}

/** A gateway's configuration, its two RLOCs and its clients' interface those of guest/library.sh. Nothing goes wrong by itself. */
export const accessConfig = (options: {
  directory: string;
  /** EID prefix and RLOCs. */
  mappings: [eid: string, ...rlocs: string[]][];
  include: string[];
  /** Whom servers see: addresses of these prefixes, or the clients, whose EIDs they are. */
  source: { nat: string[] } | { clients: string[] };
  connectTimeoutMs: number;
}): string => `roles = ["access"]
state_dir = ${JSON.stringify(join(options.directory, 'state'))}

[api]
socket = ${JSON.stringify(join(options.directory, 'amptcpd.sock'))}

[log]
level = "debug"

[[rloc]]
address = "203.0.111.1"

[[rloc]]
address = "203.0.112.1"

[lisp]
device = "lisp0"

[lisp.probe]
interval_ms = 3600000
timeout_ms = 60000
failures = 100
${options.mappings
  .map(
    ([eid, ...rlocs]) => `
[[lisp.mapping]]
eid = "${eid}"
rlocs = [${rlocs.map((rloc) => `{ address = "${rloc}", priority = 1, weight = 1 }`).join(', ')}]
`,
  )
  .join('')}
[intercept]
interfaces = ["epair0b"]
ports = ["5001-5099"]
include = ${JSON.stringify(options.include)}
${'nat' in options.source ? `nat = ${JSON.stringify(options.source.nat)}` : 'source = "client"'}
${'clients' in options.source ? options.source.clients.map((eid) => `\n[[lisp.database]]\neid = "${eid}"\n`).join('') : ''}
[mptcp]
connect_timeout_ms = ${options.connectTimeoutMs}
`;
