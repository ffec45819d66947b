// SPDX-License-Identifier: BSD-2-Clause

/**
 * Notices within fractions of a second that a path in use has fallen silent, long before TCP or the regular probes would.
 * It only voices a suspicion: the mapping system then probes that path quickly and decides.
 *
 *   we send, nothing comes back      packets went out on the path, and none has come in since
 *   it stops in mid-stream           the path was busy towards us, and stopped (we only acknowledge, so we send nothing)
 *
 * A transfer that simply ends looks like the second: it costs one burst of probes, and the answers settle it.
 */
import { pathKey, type Path } from '../lisp/mapping.js';
import type { MappingSystem } from '../lisp/mapping-system.js';
import type { Clock, LispDataPlane, PathCounters } from '../platform/platform.js';

export interface WatchOptions {
  /** Silence that raises a suspicion, before the path's round-trip time is added. */
  silenceMs: number;
  /** Packets within the last `silenceMs` or more that make a path busy. */
  busyPackets: number;
}

export const DEFAULT_WATCH: WatchOptions = { silenceMs: 200, busyPackets: 4 };

interface Seen {
  sent: number;
  received: number;
  /** When either count last grew; undefined until it does. */
  movedAt: number | undefined;
  /** When `received` last grew. */
  receivedAt: number;
  /** When something was first sent that nothing has answered yet. */
  unansweredSince: number | undefined;
  /** Packets that came in during the last stretch without a gap of `silenceMs`. */
  burst: number;
  /** One suspicion a silence. */
  suspected: boolean;
}

export interface Observation {
  /** Paths that have just become suspect. */
  suspects: Path[];
  /** Paths something was received on since the last look. */
  received: Path[];
  /** Paths that carried something, either way, lately. */
  live: Path[];
}

/** A path without traffic for this long is no longer probed quickly. */
const LIVE_MS = 3000;

export class Watch {
  private readonly seen = new Map<string, Seen>();

  constructor(private readonly options: WatchOptions = DEFAULT_WATCH) {}

  look(
    now: number,
    counters: readonly PathCounters[],
    rttMs: (path: Path) => number | undefined,
  ): Observation {
    const observation: Observation = { suspects: [], received: [], live: [] };
    for (const counter of counters) {
      const key = pathKey(counter);
      const path: Path = { local: counter.local, remote: counter.remote };
      const seen = this.seen.get(key);
      if (seen === undefined) {
        this.seen.set(key, newlySeen(counter, now));
        continue;
      }
      const received = counter.packetsReceived - seen.received;
      const sent = counter.packetsSent - seen.sent;
      seen.received = counter.packetsReceived;
      seen.sent = counter.packetsSent;
      if (received !== 0 || sent !== 0) seen.movedAt = now;
      if (seen.movedAt !== undefined && now - seen.movedAt <= LIVE_MS) observation.live.push(path);
      if (received !== 0) {
        seen.burst = now - seen.receivedAt > 2 * this.options.silenceMs ? received : seen.burst + received;
        seen.receivedAt = now;
        seen.unansweredSince = undefined;
        seen.suspected = false;
        observation.received.push(path);
        continue;
      }
      if (sent !== 0) seen.unansweredSince ??= now;
      if (seen.suspected) continue;
      const patience = this.options.silenceMs + 2 * (rttMs(path) ?? 0);
      const unanswered = seen.unansweredSince !== undefined && now - seen.unansweredSince >= patience;
      const stopped = seen.burst >= this.options.busyPackets && now - seen.receivedAt >= patience;
      if (unanswered || stopped) {
        seen.suspected = true;
        seen.burst = 0;
        observation.suspects.push(path);
      }
    }
    return observation;
  }

  /** The path was looked at and is fine, or came back: a later silence is news again. */
  reset(path: Path): void {
    this.seen.delete(pathKey(path));
  }
}

const newlySeen = (counter: PathCounters, now: number): Seen => ({
  sent: counter.packetsSent,
  received: counter.packetsReceived,
  movedAt: undefined,
  receivedAt: now,
  unansweredSince: undefined,
  burst: 0,
  suspected: false,
});

/** Looks at the data plane's counters again and again and tells the mapping system what it sees. Any role with a plane. */
export class PathWatcher {
  suspicions = 0;
  private timer: unknown;
  private readonly unsubscribe: () => void;
  private anyLive = false;

  constructor(
    private readonly clock: Clock,
    private readonly plane: Pick<LispDataPlane, 'paths'>,
    private readonly mappings: Pick<
      MappingSystem,
      'path' | 'setLivePaths' | 'suspectPath' | 'notePathReceived' | 'onPathChange'
    >,
    private readonly onError: (error: unknown) => void,
    private readonly intervalMs = 100,
    private readonly watch = new Watch(),
  ) {
    this.unsubscribe = mappings.onPathChange(({ status }) => this.watch.reset(status));
    this.next();
  }

  stop(): void {
    this.unsubscribe();
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }

  private next(): void {
    this.timer = this.clock.setTimeout(() => {
      try {
        this.look();
      } catch (error) {
        this.onError(error);
      }
      if (this.timer !== undefined) this.next();
    }, this.intervalMs);
  }

  private look(): void {
    const { suspects, received, live } = this.watch.look(
      this.clock.now(),
      this.plane.paths(),
      (path) => this.mappings.path(path).rttMs,
    );
    for (const path of received) this.mappings.notePathReceived(path);
    // Said again while there is traffic: it also keeps the mappings in use from being forgotten.
    if (live.length > 0 || this.anyLive) this.mappings.setLivePaths(live);
    this.anyLive = live.length > 0;
    for (const path of suspects) {
      this.suspicions++;
      this.mappings.suspectPath(path);
    }
  }
}
