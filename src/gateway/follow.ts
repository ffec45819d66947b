// SPDX-License-Identifier: BSD-2-Clause

/**
 * Live connections follow their plan: what reconcile() says is carried out, one step at a time per connection, and again
 * after every event that could change the answer. Whatever waits for a time (a joining subflow, the next attempt on a path) is
 * looked at by the gateway's one tick.
 *
 *   established -> 20 ms -> much has moved? -> yes: follow
 *                               no -> 500 ms -> still there? -> follow
 *
 * A connection that can have no other subflow (its server has no MPTCP, or takes none, or has not said anything yet) follows by
 * its pin: the only subflow it has is put on another path when its own is no longer in the plan.
 *
 * Most connections are short. What ends within some milliseconds, or says a few words and ends, gains nothing from a second
 * path, and joining costs a gateway and a server as much as the connection itself did.
 */
import { pathKey, type Path } from '../lisp/mapping.js';
import type { Clock, MptcpEvent, PlatformError, Subflow } from '../platform/platform.js';
import type { GatewayCounters } from './account.js';
import { Ageing } from './ageing.js';
import type { Connection, TrackedSubflow } from './connection.js';
import type { GatewayLog } from './gateway.js';
import type { Pins } from './pins.js';
import { reconcile } from './reconcile.js';

export interface FollowOptions {
  /** Subflows of one connection at most. */
  maxSubflows: number;
  /** A connection this old gets its further subflows if it has moved `joinBytes`, either way. 0: at once, whatever it moved. */
  joinAfterMs: number;
  joinBytes: number;
  /** One this old gets them in any case. */
  joinIdleMs: number;
  /** A subflow that has not been established by then has failed. */
  joinTimeoutMs: number;
  /** Established for so long, a subflow is believed to be. To be longer than any round-trip time. */
  proveMs: number;
  /** First and longest wait before a path is tried again. */
  retryMs: number;
  retryMaxMs: number;
  /** After so many failures in a row a path is left alone until the plan or its state changes. */
  attempts: number;
}

export const DEFAULT_FOLLOW: FollowOptions = {
  maxSubflows: 4,
  joinAfterMs: 20,
  joinBytes: 16_384,
  joinIdleMs: 500,
  joinTimeoutMs: 3000,
  proveMs: 300,
  retryMs: 500,
  retryMaxMs: 30_000,
  attempts: 8,
};

export class Follower {
  /** Connections that wait for a time. */
  private readonly waiting = new Set<Connection>();
  /** Those too young for further subflows: all wait equally long, so the one that waits longest is the first. */
  private readonly young: Ageing;
  private readonly quiet: Ageing;

  constructor(
    private readonly pins: Pins,
    private readonly clock: Clock,
    private readonly counters: GatewayCounters,
    private readonly log: GatewayLog,
    private options: FollowOptions,
    private readonly isDown: (path: Path) => boolean,
    /** tick() is wanted until nothing is a matter of time any more. */
    private readonly onBusy: () => void,
  ) {
    this.young = new Ageing(clock, (connection) => {
      if (this.hasMoved(connection)) this.ripen(connection);
      else this.quiet.add(connection, this.options.joinIdleMs - this.options.joinAfterMs);
    });
    this.quiet = new Ageing(clock, (connection) => this.ripen(connection));
  }

  private hasMoved(connection: Connection): boolean {
    const { up = 0, down = 0 } = connection.session?.counters() ?? {};
    return up + down >= this.options.joinBytes;
  }

  private ripen(connection: Connection): void {
    connection.ripe = true;
    void this.follow(connection);
  }

  stop(): void {
    this.young.stop();
    this.quiet.stop();
  }

  configure(options: Partial<FollowOptions>): void {
    this.options = { ...this.options, ...options };
  }

  get busy(): boolean {
    return this.waiting.size > 0;
  }

  forget(connection: Connection): void {
    this.waiting.delete(connection);
    this.young.forget(connection);
    this.quiet.forget(connection);
  }

  /** Paths this connection should have now, in order. */
  wanted(connection: Connection): Path[] {
    const paths = [...(connection.group?.paths ?? [])];
    const keys = new Set(paths.map(pathKey));
    for (const path of connection.extra) if (!keys.has(pathKey(path))) paths.push(path);
    return paths.slice(0, Math.max(this.options.maxSubflows, connection.extra.length + 1));
  }

  /** Brings the connection's subflows in line with its plan. Never rejects. */
  async follow(connection: Connection): Promise<void> {
    if (connection.following) {
      connection.followAgain = true;
      return;
    }
    connection.following = true;
    try {
      do {
        connection.followAgain = false;
        await this.step(connection);
      } while (connection.followAgain);
    } catch (error) {
      this.log.error({ connection: connection.id, err: error }, 'following the plan failed');
    } finally {
      connection.following = false;
    }
  }

  private canFollow(connection: Connection): boolean {
    return connection.state === 'established' && connection.joinable && connection.link?.protocol === 'mptcp';
  }

  private async step(connection: Connection): Promise<void> {
    if (connection.state === 'established' && isAlone(connection)) this.reroute(connection);
    if (!this.canFollow(connection)) return;
    // Too young for a further subflow, unless it is all that can help.
    if (!connection.ripe && ![...connection.subflows.values()].some(({ stale }) => stale)) return;
    const now = this.clock.now();
    const wanted = this.wanted(connection);
    const wantedKeys = new Set(wanted.map(pathKey));
    const blocked = new Set<string>();
    for (const [key, setback] of connection.setbacks) {
      if (setback.retryAt > now) blocked.add(key);
      else if (!wantedKeys.has(key)) connection.setbacks.delete(key);
    }
    const changes = reconcile({
      subflows: [...connection.subflows.values()].flatMap(({ id, path, state, proven, stale, manual }) =>
        path === undefined ? [] : [{ id, path, state, proven, stale, manual }],
      ),
      wanted,
      blocked,
      full: connection.full,
    });
    for (const path of changes.add) {
      if (!this.canFollow(connection) || connection.full) break;
      await this.add(connection, path, false, false).catch(() => undefined);
    }
    for (const id of changes.remove) {
      if (!this.canFollow(connection)) break;
      await this.remove(connection, id, 'no longer in the plan');
      connection.followAgain = true;
    }
    this.notice(connection);
  }

  /** The only subflow's next segment takes the best path of the plan, unless it is on one of them; the far xTR learns from it. */
  private reroute(connection: Connection): void {
    const [subflow] = connection.subflows.values();
    const from = subflow?.path;
    const wanted = this.wanted(connection);
    const [to] = wanted;
    if (from === undefined || to === undefined) return;
    const key = pathKey(from);
    if (wanted.some((path) => pathKey(path) === key)) return;
    connection.details();
    this.pins.set(subflow!.flow, to, connection.iid);
    connection.notePast(subflow!);
    Object.assign(subflow!, { path: to, stale: false, before: subflow!.last });
    this.counters.subflowsMoved++;
    this.log.debug(
      { connection: connection.id, subflow: subflow!.id, from, to },
      'subflow put on another path',
    );
  }

  /** Keeps the connection in sight as long as something about it is a matter of time. */
  private notice(connection: Connection): void {
    let timed = false;
    for (const subflow of connection.subflows.values()) timed ||= !subflow.proven;
    for (const setback of connection.setbacks.values()) timed ||= Number.isFinite(setback.retryAt);
    if (timed && connection.state === 'established') {
      this.waiting.add(connection);
      this.onBusy();
    } else this.waiting.delete(connection);
  }

  /** @throws PlatformError as the connector does; the setback is noted already. */
  async add(connection: Connection, path: Path, backup: boolean, manual: boolean): Promise<TrackedSubflow> {
    const link = connection.link!;
    const flows: { pinned?: Parameters<Pins['set']>[0] } = {};
    try {
      const subflow = await link.addSubflow({
        localAddress: link.flow.local.address,
        remote: { address: link.flow.remote.address, port: link.flow.remote.port },
        backup,
        beforeSyn: (flow) => {
          if (flows.pinned !== undefined) this.pins.drop(flows.pinned);
          this.pins.set(flow, path, connection.iid);
          flows.pinned = flow;
        },
      });
      this.counters.subflowsAdded++;
      const tracked = this.track(connection, subflow, path);
      if (tracked === undefined) return { ...untracked(subflow, path, this.clock.now()) };
      tracked.manual ||= manual;
      // Under way: the wait begins anew only if this attempt fails as well.
      const setback = connection.setbacks.get(pathKey(path));
      if (setback !== undefined) setback.retryAt = Infinity;
      this.notice(connection);
      return tracked;
    } catch (error) {
      const { code, message } = error as PlatformError;
      if (flows.pinned !== undefined) this.pins.drop(flows.pinned);
      if (code === 'ELIMIT') connection.full = true;
      else this.setback(connection, path, false);
      this.log.debug(
        { connection: connection.id, path: pathKey(path), code },
        `subflow not added: ${message}`,
      );
      this.notice(connection);
      throw error;
    }
  }

  /** Events may overtake the promise that announces a subflow, and a subflow may be gone before it resolves. */
  private track(connection: Connection, subflow: Subflow, path: Path): TrackedSubflow | undefined {
    const known = connection.subflows.get(subflow.id);
    if (known !== undefined) return known;
    if (subflow.state === 'closed' || connection.closedIds?.has(subflow.id)) return undefined;
    const tracked = untracked(subflow, path, this.clock.now());
    connection.subflows.set(subflow.id, tracked);
    return tracked;
  }

  async remove(connection: Connection, id: number, why: string): Promise<void> {
    const subflow = connection.subflows.get(id);
    if (subflow === undefined || connection.link === undefined) return;
    connection.details();
    try {
      await connection.link.removeSubflow(id);
      this.log.debug(
        { connection: connection.id, subflow: id, path: subflow.path },
        `subflow removed: ${why}`,
      );
    } catch (error) {
      const { message, code } = error as PlatformError;
      this.log.debug({ connection: connection.id, subflow: id, code }, `subflow not removed: ${message}`);
    }
    this.counters.subflowsRemoved++;
    this.gone(connection, subflow);
  }

  private gone(connection: Connection, subflow: TrackedSubflow): void {
    if (connection.subflows.get(subflow.id) !== subflow) return;
    connection.subflows.delete(subflow.id);
    connection.noteClosed(subflow.id);
    connection.notePast(subflow);
    this.pins.release(subflow.flow);
    // There may be room at the peer again, and what it refused may be asked for once more.
    connection.full = false;
    for (const [key, setback] of connection.setbacks) if (setback.refused) connection.setbacks.delete(key);
  }

  private setback(connection: Connection, path: Path, refused: boolean): void {
    const key = pathKey(path);
    const failures = (connection.setbacks.get(key)?.failures ?? 0) + 1;
    const wait = Math.min(this.options.retryMaxMs, this.options.retryMs * 2 ** (failures - 1));
    connection.setbacks.set(key, {
      path,
      failures,
      retryAt: refused || failures >= this.options.attempts ? Infinity : this.clock.now() + wait,
      refused,
    });
  }

  /** The path is not to be used for this connection until the mapping or its state changes. */
  suppress(connection: Connection, path: Path): void {
    connection.setbacks.set(pathKey(path), { path, failures: 0, retryAt: Infinity, refused: false });
  }

  onEvent(connection: Connection, event: MptcpEvent): void {
    switch (event.type) {
      case 'established':
        connection.joinable = true;
        if (this.options.joinAfterMs > 0) this.young.add(connection, this.options.joinAfterMs);
        else connection.ripe = true;
        break;
      case 'fallback':
        connection.joinable = false;
        connection.protocol = 'tcp';
        this.log.debug({ connection: connection.id }, 'the server does not speak MPTCP: plain TCP');
        break;
      case 'subflow-established': {
        const path = this.pins.pathOf(event.subflow.flow);
        const tracked =
          connection.subflows.get(event.subflow.id) ??
          (path === undefined ? undefined : this.track(connection, event.subflow, path));
        if (tracked === undefined) return;
        tracked.state = 'established';
        tracked.since = this.clock.now();
        if (path !== undefined) connection.setbacks.delete(pathKey(path));
        this.log.debug({ connection: connection.id, subflow: tracked.id, path }, 'subflow established');
        break;
      }
      case 'subflow-closed': {
        const tracked = connection.subflows.get(event.subflow.id);
        if (tracked === undefined) {
          connection.noteClosed(event.subflow.id);
          if (event.refused === true) this.refused(connection, this.pins.pathOf(event.subflow.flow));
          this.pins.release(event.subflow.flow);
          return;
        }
        this.gone(connection, tracked);
        if (event.refused === true) this.refused(connection, tracked.path);
        else if (tracked.path !== undefined) this.setback(connection, tracked.path, false);
        this.log.debug(
          { connection: connection.id, subflow: tracked.id, path: tracked.path, code: event.code },
          event.refused === true ? 'subflow refused by the peer' : 'subflow closed',
        );
        break;
      }
      case 'announced':
      case 'closed':
        return;
    }
    void this.follow(connection);
  }

  private refused(connection: Connection, path: Path | undefined): void {
    this.counters.subflowsRefused++;
    connection.full = true;
    if (path === undefined) return;
    this.setback(connection, path, true);
    // Nothing fresher is to be had, so what is there serves on.
    for (const subflow of connection.subflows.values()) {
      if (subflow.path !== undefined && pathKey(subflow.path) === pathKey(path)) subflow.stale = false;
    }
  }

  /** The plan of the connection is another one: refusals and waiting times of before say nothing about it. */
  planChanged(connection: Connection): void {
    connection.full = false;
    connection.setbacks.clear();
    void this.follow(connection);
  }

  /** A path went down: what lives on it is stale from now on. It came up: it is worth a try at once. */
  pathChanged(connection: Connection, path: Path, up: boolean): void {
    const key = pathKey(path);
    if (up) connection.setbacks.delete(key);
    else {
      for (const subflow of connection.subflows.values()) {
        if (subflow.path !== undefined && pathKey(subflow.path) === key) subflow.stale = true;
      }
    }
    void this.follow(connection);
  }

  /** The gateway's tick: joins that take too long, waits that are over. */
  tick(): void {
    const now = this.clock.now();
    for (const connection of this.waiting) {
      let act = false;
      for (const subflow of [...connection.subflows.values()]) {
        if (subflow.state === 'established') {
          if (subflow.proven || now - subflow.since < this.options.proveMs) continue;
          subflow.proven = act = true;
          continue;
        }
        const dead = subflow.path !== undefined && this.isDown(subflow.path);
        if (!dead && now - subflow.since < this.options.joinTimeoutMs) continue;
        if (subflow.path !== undefined) this.setback(connection, subflow.path, false);
        act = true;
        void this.remove(connection, subflow.id, dead ? 'its path went down' : 'no answer to its MP_JOIN');
      }
      for (const setback of connection.setbacks.values()) act ||= setback.retryAt <= now;
      if (act) void this.follow(connection);
    }
  }
}

/** What it has is all it will have for now. */
const isAlone = ({ subflows, protocol, joinable, full }: Connection): boolean =>
  subflows.size === 1 && (protocol !== 'mptcp' || !joinable || full);

const untracked = (subflow: Subflow, path: Path, since: number): TrackedSubflow => ({
  id: subflow.id,
  flow: subflow.flow,
  path,
  state: subflow.state === 'established' ? 'established' : 'joining',
  proven: false,
  backup: subflow.backup,
  stale: false,
  manual: false,
  since,
});
