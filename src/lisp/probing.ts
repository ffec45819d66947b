// SPDX-License-Identifier: BSD-2-Clause

/**
 * RLOC-probing (RFC 9301 section 7.1) of each (local RLOC, remote RLOC) path: a Map-Request with P straight to the RLOC,
 * leaving from the local one and asking for the answer there, so that both directions of just this path are tried.
 *
 *   unknown --answered--> up --`failures` time-outs in a row--> down --answered--> up
 *
 * Paths with live traffic, and suspected ones, are probed fast and with a time-out that follows the round-trip time.
 *
 * A daemon that got no processor for a while finds time-outs first and the answers, unread in its sockets, after them. A time-out
 * that is late itself therefore decides nothing yet: it is looked at again once the loop has had a turn to read.
 */
import { ipAddress } from './codec/address.js';
import { CONTROL_PORT, encodeMessage, type MapReply } from './codec/messages.js';
import { Timers, randomNonce, type ControlDatagram, type ControlEnvironment } from './environment.js';
import type { XtrOptions } from './local-site.js';
import { pathKey, type Path, type PathStatus } from './mapping.js';
import type { PathChange } from './mapping-system.js';
import { parsePrefix } from './prefix.js';
import { toEidRecord, type Eid } from './records.js';

interface Probe {
  sentAt: number;
  cancel(): void;
  settle(): void;
}

interface ProbedPath {
  path: Path;
  /** Of a mapping with the remote locator: what the probe asks for. */
  eid: Eid;
  status: PathStatus;
  live: boolean;
  suspectUntil: number;
  failures: number;
  /** Time-outs not counted because something was received meanwhile. */
  excused: number;
  lastReceivedAt: number;
  smoothedRtt?: number;
  rttVariation: number;
  outstanding: Map<bigint, Probe>;
  cancelNext(): void;
}

export interface WantedPath {
  path: Path;
  eid?: Eid;
  live: boolean;
}

const MAX_PATHS = 4096;
/** Idle paths share this many probes a second. */
const IDLE_PROBES_PER_SECOND = 100;
const FAST_INTERVAL_MS = 250;
const MIN_TIMEOUT_MS = 250;
const SUSPECT_MS = 3000;
/** A timer this late tells of this host, not of the path; so long, and so often, the sockets get to be read. */
const LATE_MS = 20;
const GRACE_MS = 50;
const MAX_GRACES = 8;
/** An answer that never comes must not be excused for ever by what arrives from the other side. */
const MAX_EXCUSED = 6;
const ANY_EID: Record<4 | 6, Eid> = {
  4: { iid: 0, prefix: parsePrefix('0.0.0.0/0') },
  6: { iid: 0, prefix: parsePrefix('::/0') },
};

export class Prober {
  private readonly paths = new Map<string, ProbedPath>();
  private readonly byNonce = new Map<bigint, ProbedPath>();
  private readonly timers: Timers;

  constructor(
    private readonly environment: ControlEnvironment,
    private options: XtrOptions['probe'],
    private readonly onChange: (change: PathChange) => void,
  ) {
    this.timers = new Timers(environment.clock);
  }

  update(options: XtrOptions['probe']): void {
    this.options = options;
  }

  /** These are the paths there are from now on. */
  sync(wanted: Map<string, WantedPath>): void {
    for (const [key, entry] of this.paths) if (!wanted.has(key)) this.remove(key, entry);
    for (const [key, { path, eid, live }] of wanted) {
      const known = this.paths.get(key);
      if (known) {
        if (eid) known.eid = eid;
        if (known.live !== live) {
          known.live = live;
          if (live) this.reschedule(known, 0);
        }
        continue;
      }
      if (this.paths.size >= MAX_PATHS) {
        this.environment.counters.add('drop.too-many-paths');
        continue;
      }
      const entry: ProbedPath = {
        path,
        eid: eid ?? ANY_EID[path.remote.includes(':') ? 6 : 4],
        status: { ...path, state: 'unknown', reason: 'not probed yet' },
        live,
        suspectUntil: 0,
        failures: 0,
        excused: 0,
        lastReceivedAt: -Infinity,
        rttVariation: 0,
        outstanding: new Map(),
        cancelNext: () => undefined,
      };
      this.paths.set(key, entry);
      this.reschedule(entry, 0);
    }
  }

  private remove(key: string, entry: ProbedPath): void {
    entry.cancelNext();
    for (const [nonce, probe] of entry.outstanding) {
      probe.cancel();
      this.byNonce.delete(nonce);
      probe.settle();
    }
    this.paths.delete(key);
    // Whoever acted upon 'down' has to know that nobody will say 'up' any more.
    if (entry.status.state === 'down') this.change(entry, 'unknown', 'no longer probed');
  }

  statuses(): PathStatus[] {
    return [...this.paths.values()].map(({ status }) => ({ ...status }));
  }

  status(path: Path): PathStatus {
    const entry = this.paths.get(pathKey(path));
    return entry ? { ...entry.status } : { ...path, state: 'unknown', reason: 'not probed' };
  }

  setMtu(path: Path, mtu: number): void {
    const entry = this.paths.get(pathKey(path));
    if (entry) entry.status = { ...entry.status, mtu };
  }

  received(path: Path): void {
    const entry = this.paths.get(pathKey(path));
    if (entry) entry.lastReceivedAt = this.environment.clock.now();
  }

  suspect(path: Path): void {
    const entry = this.paths.get(pathKey(path));
    if (!entry) return;
    const now = this.environment.clock.now();
    const news = now >= entry.suspectUntil;
    entry.suspectUntil = now + SUSPECT_MS;
    if (news && !this.isFast(entry)) this.reschedule(entry, 0);
    else if (news) void this.probe(entry);
  }

  /** Settles when each of these paths has been probed once. */
  async probeNow(remote?: string): Promise<PathStatus[]> {
    const chosen = [...this.paths.values()].filter(
      ({ path }) => remote === undefined || path.remote === remote,
    );
    await Promise.all(chosen.map((entry) => this.probe(entry)));
    return chosen.map(({ status }) => ({ ...status }));
  }

  private isFast(entry: ProbedPath): boolean {
    return entry.live || this.environment.clock.now() < entry.suspectUntil;
  }

  private interval(entry: ProbedPath): number {
    if (this.isFast(entry)) return Math.min(this.options.intervalMs, FAST_INTERVAL_MS);
    return Math.max(this.options.intervalMs, (this.paths.size * 1000) / IDLE_PROBES_PER_SECOND);
  }

  private timeout(entry: ProbedPath): number {
    const { timeoutMs } = this.options;
    if (!this.isFast(entry) || entry.smoothedRtt === undefined) return timeoutMs;
    // As TCP's retransmission timer (RFC 6298), with room for a queue that is just filling.
    return Math.min(timeoutMs, Math.max(MIN_TIMEOUT_MS, 2 * entry.smoothedRtt + 4 * entry.rttVariation));
  }

  private reschedule(entry: ProbedPath, delay: number): void {
    entry.cancelNext();
    entry.cancelNext = this.timers.start(() => {
      void this.probe(entry);
      this.reschedule(entry, this.interval(entry));
    }, delay);
  }

  private probe(entry: ProbedPath): Promise<void> {
    return new Promise((settle) => {
      const nonce = randomNonce(this.environment);
      const { local, remote } = entry.path;
      const probe: Probe = { sentAt: this.environment.clock.now(), settle, cancel: () => undefined };
      this.expect(entry, nonce, probe, this.timeout(entry), 0);
      entry.outstanding.set(nonce, probe);
      this.byNonce.set(nonce, entry);
      this.environment.counters.add('sent.rloc-probe');
      this.environment.send({
        local,
        remote: { address: remote, port: CONTROL_PORT },
        data: encodeMessage({
          type: 'map-request',
          authoritative: false,
          probe: true,
          smr: false,
          pitr: false,
          smrInvoked: false,
          localXtr: false,
          dontMapReply: false,
          nonce,
          sourceEid: { kind: 'none' },
          itrRlocs: [ipAddress(local)],
          records: [toEidRecord(entry.eid)],
        }),
      });
    });
  }

  /** An answer within `ms`, or it counts as lost: when this host was on time to read it. */
  private expect(entry: ProbedPath, nonce: bigint, probe: Probe, ms: number, graces: number): void {
    const { clock, counters } = this.environment;
    const due = clock.now() + ms;
    probe.cancel = this.timers.start(() => {
      if (clock.now() - due <= LATE_MS || graces >= MAX_GRACES) return this.timedOut(entry, nonce);
      counters.add('rloc-probe-late-timeout');
      this.expect(entry, nonce, probe, GRACE_MS, graces + 1);
    }, ms);
  }

  /** Returns whether the nonce was that of a probe. */
  reply(message: MapReply, datagram: ControlDatagram): boolean {
    const entry = this.byNonce.get(message.nonce);
    const probe = entry?.outstanding.get(message.nonce);
    if (!entry || !probe) return false;
    if (datagram.remote.address !== entry.path.remote || datagram.local !== entry.path.local) {
      this.environment.counters.add('drop.probe-reply-from-elsewhere');
      return true;
    }
    this.environment.counters.add('received.rloc-probe-reply');
    this.forget(entry, message.nonce, probe);
    const now = this.environment.clock.now();
    const rtt = now - probe.sentAt;
    // RFC 6298 section 2
    entry.rttVariation =
      entry.smoothedRtt === undefined
        ? rtt / 2
        : 0.75 * entry.rttVariation + 0.25 * Math.abs(entry.smoothedRtt - rtt);
    entry.smoothedRtt = entry.smoothedRtt === undefined ? rtt : 0.875 * entry.smoothedRtt + 0.125 * rtt;
    entry.failures = 0;
    entry.excused = 0;
    entry.suspectUntil = 0;
    entry.status = { ...entry.status, rttMs: rtt };
    if (entry.status.state !== 'up') this.change(entry, 'up', 'probe answered');
    probe.settle();
    return true;
  }

  private forget(entry: ProbedPath, nonce: bigint, probe: Probe): void {
    probe.cancel();
    entry.outstanding.delete(nonce);
    this.byNonce.delete(nonce);
  }

  private timedOut(entry: ProbedPath, nonce: bigint): void {
    const probe = entry.outstanding.get(nonce);
    if (!probe) return;
    this.forget(entry, nonce, probe);
    this.environment.counters.add('rloc-probe-timeout');
    const { clock } = this.environment;
    if (entry.lastReceivedAt >= probe.sentAt && entry.excused < MAX_EXCUSED) {
      entry.excused++;
    } else {
      entry.failures++;
      if (entry.failures < this.options.failures && entry.status.state !== 'down') {
        // Do not wait for the interval to find out.
        entry.suspectUntil = Math.max(entry.suspectUntil, clock.now() + SUSPECT_MS);
        if (entry.outstanding.size === 0) this.reschedule(entry, 0);
      } else if (entry.status.state !== 'down') {
        this.change(entry, 'down', `${entry.failures} RLOC-probes in a row timed out`);
      }
    }
    probe.settle();
  }

  private change(entry: ProbedPath, state: PathStatus['state'], reason: string): void {
    const previous = entry.status;
    const { rttMs, ...rest } = previous;
    entry.status = { ...rest, state, reason, ...(state === 'up' && rttMs !== undefined && { rttMs }) };
    this.environment.log({
      level: state === 'down' ? 'warn' : 'info',
      event: `path-${state}`,
      message: `path ${entry.path.local} -> ${entry.path.remote} is ${state}: ${reason}`,
      ...entry.path,
    });
    this.onChange({ status: { ...entry.status }, previous });
  }

  stop(): void {
    for (const [key, entry] of [...this.paths]) {
      entry.status = { ...entry.status, state: 'unknown' };
      this.remove(key, entry);
    }
    this.timers.stop();
  }
}
