// SPDX-License-Identifier: BSD-2-Clause

/**
 * The life of a connection, one direction:
 *
 *   client SYN -> intercept -> decide -> plan -> connect -> relay -> account
 *                                |         ^
 *                               hold       | mapping or path changed: follow (reconcile)
 *
 * Each stage is a file of its own; this one only hands a connection from one to the next, and keeps the list.
 */
import { pathKey, type Path } from '../lisp/mapping.js';
import type { MappingChange, MappingSystem, PathChange } from '../lisp/mapping-system.js';
import { PrefixTable } from '../lisp/prefix-table.js';
import { addressFamily, parsePrefix, prefixContains, prefixesOverlap } from '../lisp/prefix.js';
import {
  PlatformError,
  type ClientFlow,
  type CloseReason,
  type ConnectOptions,
  type MptcpEvent,
  type Platform,
  type RelayReport,
} from '../platform/platform.js';
import {
  endpointText,
  newCounters,
  pathAccounts,
  recordOf,
  type ConnectionRecord,
  type GatewayCounters,
} from './account.js';
import { connect, type ConnectSettings } from './connect.js';
import { Connection, type TrackedSubflow } from './connection.js';
import { decide, knowledgeOf, type Knowledge } from './decide.js';
import { DEFAULT_FOLLOW, Follower, type FollowOptions } from './follow.js';
import { Groups, type Group } from './groups.js';
import { Holds } from './hold.js';
import { BypassSet, rulesOf, type InterceptPolicy } from './intercept.js';
import { plan, type LocalRloc } from './plan.js';
import { Pins } from './pins.js';
import { startRelay, type RelaySettings } from './relay.js';

/** What pino offers of a log. */
export interface GatewayLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface GatewayOptions {
  intercept: InterceptPolicy & {
    source: 'nat' | 'client';
    nat: string[];
    holdMs: number;
    holdMax: number;
  };
  iid: number;
  rlocs: LocalRloc[];
  connect: ConnectSettings;
  maxSubflows: number;
  relay: RelaySettings;
  /** Tests shorten these. */
  follow?: Partial<FollowOptions>;
  tickMs?: number;
}

export type GatewayPlatform = Pick<Platform, 'interceptor' | 'connector' | 'plane' | 'relay' | 'clock'>;

export interface GatewayDeps {
  platform: GatewayPlatform;
  mappings: MappingSystem;
  log: GatewayLog;
  /** Every connection once, when it has ended. */
  onRecord?(record: ConnectionRecord): void;
}

/** A request of the operator that cannot be met. */
export class GatewayError extends Error {
  constructor(
    readonly code: 'not-found' | 'conflict' | 'invalid' | 'unavailable',
    message: string,
  ) {
    super(message);
    this.name = 'GatewayError';
  }
}

/** How long a destination is passed by when nobody says how long. */
const BYPASS_SECONDS = 15;
const TICK_MS = 100;

export class Gateway {
  readonly counters: GatewayCounters = newCounters();
  /** Retransmissions per path, ever. */
  readonly retransmits = new Map<string, { path: Path; count: number }>();
  private readonly connections = new Map<number, Connection>();
  private readonly groups: Groups;
  private readonly holds: Holds;
  private readonly pins: Pins;
  private readonly bypass: BypassSet;
  /** Prefixes that have locators. */
  private readonly mapped = new PrefixTable<true>();
  private readonly follower: Follower;
  private nextId = 1;
  private ticking: unknown;
  private accepting = false;
  private idle: (() => void)[] = [];
  private readonly unsubscribe: (() => void)[] = [];

  constructor(
    private readonly deps: GatewayDeps,
    private options: GatewayOptions,
  ) {
    const { platform, mappings, log } = deps;
    this.groups = new Groups((mapping, keep) =>
      plan(
        mapping,
        this.options.rlocs,
        (path) => mappings.path(path).state,
        { maxPaths: this.options.maxSubflows },
        keep,
      ),
    );
    this.holds = new Holds(platform.clock);
    this.pins = new Pins(platform.plane, platform.clock);
    this.bypass = new BypassSet(platform.interceptor, platform.clock, (error, prefix) =>
      log.warn({ prefix, err: error }, 'the bypass set could not be changed'),
    );
    this.follower = new Follower(
      this.pins,
      platform.clock,
      this.counters,
      log,
      { ...DEFAULT_FOLLOW, maxSubflows: options.maxSubflows, ...options.follow },
      (path) => mappings.path(path).state === 'down',
      () => this.tickSoon(),
    );
  }

  // ---------------------------------------------------------------- life

  /** @throws PlatformError when the rules cannot be installed; nothing is left behind then. */
  async start(): Promise<void> {
    const { platform, mappings } = this.deps;
    for (const { iid, eid, locators } of mappings.list())
      if (locators.length > 0) this.mapped.set(iid, parsePrefix(eid), true);
    this.unsubscribe.push(
      mappings.onChange((change) => this.onMappingChange(change)),
      mappings.onPathChange((change) => this.onPathChange(change)),
    );
    this.accepting = true;
    try {
      await platform.interceptor.start(rulesOf(this.options.intercept), (flow) => void this.handle(flow));
    } catch (error) {
      this.accepting = false;
      for (const end of this.unsubscribe.splice(0)) end();
      throw error;
    }
  }

  /** New rules and settings; live connections keep what they have and follow the new set of RLOCs. */
  async update(options: GatewayOptions): Promise<void> {
    await this.deps.platform.interceptor.update(rulesOf(options.intercept));
    this.options = options;
    this.follower.configure({ maxSubflows: options.maxSubflows, ...options.follow });
    for (const group of [...this.groups]) this.replan(group, true);
  }

  /** Stops taking connections, gives the present ones `drainMs` to end, resets the rest. */
  async stop(drainMs: number): Promise<void> {
    const { platform } = this.deps;
    if (this.accepting) {
      this.accepting = false;
      await platform.interceptor.stopAccepting();
    }
    this.holds.releaseAll();
    if (this.connections.size > 0 && drainMs > 0) await this.drained(drainMs);
    for (const connection of this.connections.values()) this.abort(connection, 'drain');
    // What is still being connected hears of it when its attempt ends; give that a moment, not its whole time-out.
    if (this.connections.size > 0) await this.drained(500);
    for (const end of this.unsubscribe.splice(0)) end();
    platform.clock.clearTimeout(this.ticking);
    this.ticking = undefined;
    this.follower.stop();
    this.pins.clear();
    await platform.interceptor.stop();
  }

  private drained(ms: number): Promise<void> {
    const { clock } = this.deps.platform;
    return new Promise((resolve) => {
      const timer = clock.setTimeout(resolve, ms);
      this.idle.push(() => {
        clock.clearTimeout(timer);
        resolve();
      });
    });
  }

  // ---------------------------------------------------------------- the way of one connection

  /** From the client's SYN to the relay. Never rejects. */
  private async handle(flow: ClientFlow): Promise<void> {
    const { clock } = this.deps.platform;
    const connection = new Connection(this.nextId++, flow, this.options.iid, clock.now());
    this.counters.total++;
    this.connections.set(connection.id, connection);
    try {
      if (!this.accepting) return this.pass(connection, 'the daemon stops');
      const { role, holdMs, holdMax } = this.options.intercept;
      const { address } = flow.destination;
      const policy = { role, bypassSeconds: BYPASS_SECONDS };
      let knowledge: Knowledge =
        role === 'data-centre'
          ? { status: 'miss' }
          : knowledgeOf(this.deps.mappings.lookup(address, connection.iid));
      let decision = decide(policy, address, knowledge, { held: this.holds.size, holdMax, holdMs });
      if (decision.action === 'hold') {
        connection.state = 'held';
        knowledge = await this.holds.wait(this.deps.mappings.resolve(address, connection.iid), holdMs);
        connection.state = 'connecting';
        if (connection.killed) throw new PlatformError('killed while it was held', 'ECONNABORTED');
        decision = decide(policy, address, knowledge, { held: 0, holdMax: 1, holdMs });
      }
      if (decision.action === 'proxy') {
        if (role === 'data-centre') return await this.proxy(connection, undefined);
        const group = this.groups.of(decision.mapping!);
        if (group.paths.length > 0) return await this.proxy(connection, group);
        this.groups.tidy(group);
        return await this.pass(connection, 'no usable path to any RLOC');
      }
      if (decision.action === 'bypass') {
        if (decision.remember !== undefined) {
          const { prefix, ttlSeconds } = decision.remember;
          this.bypass.remember(
            address,
            prefix,
            ttlSeconds,
            (wide) => this.mapped.within(connection.iid, wide).length > 0,
          );
        }
        return await this.pass(connection, decision.reason);
      }
    } catch (error) {
      this.failed(connection, error);
    }
  }

  /** Not accelerated: let go while that is still possible, else connected by the host's ordinary routes. */
  private async pass(connection: Connection, reason: string): Promise<void> {
    connection.directReason = reason;
    connection.protocol = 'direct';
    if (connection.flow.bypass()) {
      this.counters.bypassed++;
      this.connections.delete(connection.id);
      this.settled();
      return;
    }
    this.counters.direct++;
    try {
      // As the client's packets would have gone had nobody taken them: with the client's own address.
      const { link } = await connect(
        this.deps.platform.connector,
        this.pins,
        this.deps.platform.clock,
        {
          source: { address: connection.flow.client.address },
          remote: connection.flow.destination,
          iid: connection.iid,
          multipath: false,
          paths: [],
          settings: this.options.connect,
        },
        () => undefined,
      );
      connection.link = link;
      connection.source = link.flow.local;
      await this.relay(connection);
    } catch (error) {
      this.failed(connection, error);
    }
  }

  private async proxy(connection: Connection, group: Group | undefined): Promise<void> {
    const { platform, log } = this.deps;
    const { flow } = connection;
    const source = this.sourceFor(flow);
    if (source === undefined) {
      if (group !== undefined) this.groups.tidy(group);
      return this.pass(connection, `no nat prefix for IPv${addressFamily(flow.destination.address)}`);
    }
    if (group !== undefined) this.groups.join(connection, group);
    const multipath = group !== undefined && platform.connector.multipath;
    connection.protocol = multipath ? 'mptcp' : 'tcp';
    const early: MptcpEvent[] = [];
    const { link, path } = await connect(
      platform.connector,
      this.pins,
      platform.clock,
      {
        source,
        remote: flow.destination,
        iid: connection.iid,
        multipath,
        paths: group?.paths.slice() ?? [],
        settings: this.options.connect,
      },
      (failedPath, error) => {
        log.warn(
          {
            connection: connection.id,
            destination: endpointText(flow.destination),
            path: failedPath,
            code: error.code,
          },
          `no answer over a path: ${error.message}`,
        );
        this.deps.mappings.suspectPath(failedPath);
      },
    );
    connection.link = link;
    connection.source = link.flow.local;
    connection.protocol = link.protocol;
    connection.subflows.set(0, {
      id: 0,
      flow: link.flow,
      path,
      state: 'established',
      proven: true,
      backup: false,
      stale: false,
      manual: false,
      since: platform.clock.now(),
    });
    link.onEvent((event) => {
      if (connection.state === 'connecting') early.push(event);
      else if (connection.state === 'established') this.follower.onEvent(connection, event);
    });
    await this.relay(connection);
    for (const event of early) this.follower.onEvent(connection, event);
    // Of MPTCP an event will tell.
    if (connection.protocol === 'tcp') void this.follower.follow(connection);
  }

  private sourceFor(flow: ClientFlow): ConnectOptions['source'] | undefined {
    const { source, nat } = this.options.intercept;
    if (source === 'client') return { address: flow.client.address };
    const family = addressFamily(flow.destination.address);
    const prefix = nat.find((candidate) => addressFamily(candidate) === family);
    if (prefix !== undefined) return { prefix };
    // A data-centre gateway without addresses of its own shows the server who is really there.
    return this.options.intercept.role === 'data-centre' ? { address: flow.client.address } : undefined;
  }

  private async relay(connection: Connection): Promise<void> {
    if (connection.killed) {
      connection.link!.abandon();
      connection.flow.refuse('ECONNABORTED');
      this.close(connection, { reason: 'killed' });
      connection.link!.dispose();
      return;
    }
    try {
      connection.session = await startRelay(
        this.deps.platform.relay,
        connection.flow,
        connection.link!,
        this.options.relay,
      );
    } catch (error) {
      this.close(connection, { reason: 'client-gone', code: codeOf(error) });
      return;
    }
    connection.state = 'established';
    connection.session.closed.then(
      (report) => {
        this.close(connection, { reason: report.reason, code: report.code, report });
        connection.link?.dispose();
      },
      (error: unknown) => this.close(connection, { reason: 'error', code: codeOf(error) }),
    );
    if (connection.killed) connection.session.abort('killed');
  }

  /** The server side failed: the client is told what it would have been told without us. */
  private failed(connection: Connection, error: unknown): void {
    const code = codeOf(error);
    if (!(error instanceof PlatformError)) {
      this.deps.log.error({ connection: connection.id, err: error }, 'a connection failed unexpectedly');
    }
    if (!connection.killed) this.counters.failed++;
    connection.flow.refuse(code);
    this.close(connection, { reason: connection.killed ? 'killed' : 'connect-failed', code });
  }

  private close(
    connection: Connection,
    outcome: { reason: ConnectionRecord['reason']; code?: string; report?: RelayReport },
  ): void {
    if (!this.connections.delete(connection.id)) return;
    connection.state = 'closing';
    const record = recordOf(connection, this.deps.platform.clock.now(), outcome);
    this.countRetransmits(connection, outcome.report);
    this.counters.up += record.up;
    this.counters.down += record.down;
    this.counters.closed[record.reason] = (this.counters.closed[record.reason] ?? 0) + 1;
    for (const subflow of connection.subflows.values()) this.pins.release(subflow.flow);
    this.follower.forget(connection);
    this.groups.leave(connection);
    this.deps.onRecord?.(record);
    this.settled();
  }

  private settled(): void {
    if (this.connections.size === 0) for (const resolve of this.idle.splice(0)) resolve();
  }

  private abort(connection: Connection, reason: CloseReason): void {
    connection.killed = true;
    connection.session?.abort(reason);
  }

  // ---------------------------------------------------------------- what changes while it lives

  private onMappingChange(change: MappingChange): void {
    const { iid, eid } = change.mapping;
    if (change.type === 'set' && change.mapping.locators.length > 0) {
      this.mapped.set(iid, parsePrefix(eid), true);
      this.bypass.contradict(eid);
    } else this.mapped.delete(iid, parsePrefix(eid));
    // What replaces a removed mapping may be on its way in the same breath: look once that is over.
    if (change.type === 'removed') queueMicrotask(() => this.remap(iid, eid));
    else this.remap(iid, eid);
  }

  /** Connections to destinations within `eid` go by what the map-cache says now. */
  private remap(iid: number, eid: string): void {
    const asked = new Set<string>();
    const replanned = new Set<Group>();
    for (const group of [...this.groups]) {
      if (group.mapping.iid !== iid || !prefixesOverlap(group.mapping.eid, eid)) continue;
      for (const connection of [...group.connections]) {
        const { address } = connection.flow.destination;
        if (!prefixContains(eid, address)) continue;
        const mapping = this.deps.mappings.lookup(address, iid);
        if (mapping === undefined || mapping.locators.length === 0) {
          // Gone for now: what lives goes on as it is, and the mapping system is asked where the destination is.
          if (mapping === undefined && !asked.has(address)) void this.deps.mappings.resolve(address, iid);
          asked.add(address);
          continue;
        }
        const next = this.groups.of(mapping);
        this.groups.join(connection, next);
        if (!replanned.has(next)) this.groups.replan(next);
        replanned.add(next);
        this.follower.planChanged(connection);
      }
    }
  }

  private onPathChange({ status, previous }: PathChange): void {
    if (status.state === previous.state) return;
    for (const group of [...this.groups]) {
      if (!group.mapping.locators.some(({ rloc }) => rloc === status.remote)) continue;
      this.groups.replan(group);
      for (const connection of [...group.connections]) {
        if (status.state === 'unknown') void this.follower.follow(connection);
        else this.follower.pathChanged(connection, status, status.state === 'up');
      }
    }
  }

  private replan(group: Group, force: boolean): void {
    if (!this.groups.replan(group) && !force) return;
    for (const connection of [...group.connections]) this.follower.planChanged(connection);
  }

  // ---------------------------------------------------------------- the tick

  private tickSoon(): void {
    if (this.ticking !== undefined) return;
    const ms = this.options.tickMs ?? TICK_MS;
    this.ticking = this.deps.platform.clock.setTimeout(() => {
      this.ticking = undefined;
      try {
        this.follower.tick();
      } catch (error) {
        this.deps.log.error({ err: error }, 'the tick failed');
      }
      if (this.follower.busy) this.tickSoon();
    }, ms);
  }

  // ---------------------------------------------------------------- what the API asks

  get active(): number {
    return this.connections.size;
  }
  get held(): number {
    return this.holds.size;
  }
  get intercepting(): boolean {
    return this.accepting;
  }

  list(): Connection[] {
    return [...this.connections.values()];
  }

  /** @throws GatewayError */
  get(id: number): Connection {
    const connection = this.connections.get(id);
    if (connection === undefined) throw new GatewayError('not-found', `there is no connection ${id}`);
    return connection;
  }

  /** @throws GatewayError */
  kill(id: number): void {
    this.abort(this.get(id), 'killed');
  }

  /** Octets relayed by live connections. */
  liveBytes(): { up: number; down: number } {
    const sum = { up: 0, down: 0 };
    for (const { session } of this.connections.values()) {
      if (session === undefined) continue;
      const { up, down } = session.counters();
      sum.up += up;
      sum.down += down;
    }
    return sum;
  }

  /** How many connections have a subflow on each path, by the path's key. */
  connectionsByPath(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const connection of this.connections.values()) {
      const own = new Set<string>();
      for (const { path } of connection.subflows.values()) if (path !== undefined) own.add(pathKey(path));
      for (const key of own) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  /** @throws GatewayError */
  async addSubflow(
    id: number,
    request: { local?: string; remote: string; backup?: boolean },
  ): Promise<TrackedSubflow> {
    const connection = this.get(id);
    const { group, link } = connection;
    if (group === undefined || link === undefined || connection.state !== 'established') {
      throw new GatewayError(
        'conflict',
        `connection ${id} is ${connection.protocol === 'direct' ? 'direct' : connection.state}: it takes no subflows`,
      );
    }
    if (link.protocol !== 'mptcp') {
      throw new GatewayError('conflict', `connection ${id} is plain TCP: its server does not speak MPTCP`);
    }
    if (!connection.joinable) {
      throw new GatewayError(
        'conflict',
        `connection ${id} is not fully established: it takes subflows after its first data`,
      );
    }
    if (!group.mapping.locators.some(({ rloc }) => rloc === request.remote)) {
      throw new GatewayError('invalid', `${request.remote} is no RLOC of ${group.mapping.eid}`);
    }
    const locals = this.options.rlocs
      .filter(({ address }) => addressFamily(address) === addressFamily(request.remote))
      .map(({ address }) => address);
    const local = request.local ?? this.localFor(connection, locals, request.remote);
    if (local === undefined || !locals.includes(local)) {
      throw new GatewayError(
        'invalid',
        local === undefined
          ? `no local RLOC reaches ${request.remote}`
          : `${local} is no RLOC of this gateway that could reach ${request.remote}`,
      );
    }
    const path: Path = { local, remote: request.remote };
    const key = pathKey(path);
    for (const subflow of connection.subflows.values()) {
      if (subflow.path !== undefined && pathKey(subflow.path) === key) {
        throw new GatewayError('conflict', `subflow ${subflow.id} is on that path already`);
      }
    }
    connection.setbacks.delete(key);
    connection.full = false;
    try {
      return await this.follower.add(connection, path, request.backup ?? false, true);
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
      throw new GatewayError(
        'conflict',
        error.code === 'ELIMIT' ? 'the server takes no further subflow (its limit)' : error.message,
      );
    }
  }

  private localFor(connection: Connection, locals: string[], remote: string): string | undefined {
    const planned = connection.group?.paths.find((path) => path.remote === remote);
    if (planned !== undefined) return planned.local;
    const used = new Set([...connection.subflows.values()].map(({ path }) => path?.local));
    const usable = locals.filter((local) => this.deps.mappings.path({ local, remote }).state !== 'down');
    return usable.find((local) => !used.has(local)) ?? usable[0];
  }

  /** @throws GatewayError */
  async removeSubflow(id: number, subflowId: number): Promise<void> {
    const connection = this.get(id);
    const subflow = connection.subflows.get(subflowId);
    if (subflow === undefined)
      throw new GatewayError('not-found', `connection ${id} has no subflow ${subflowId}`);
    const others = [...connection.subflows.values()].filter(
      (other) => other !== subflow && other.state === 'established',
    );
    if (others.length === 0) {
      throw new GatewayError(
        'conflict',
        `subflow ${subflowId} is the only one; to end the connection, kill it`,
      );
    }
    if (subflow.path !== undefined) this.follower.suppress(connection, subflow.path);
    await this.follower.remove(connection, subflowId, 'the operator asked for it');
  }

  /** Brings the retransmission counts per path up to date; at most `limit` connections are asked. */
  sampleRetransmits(limit = 1000): void {
    for (const connection of this.connections.values()) {
      if (limit-- <= 0) return;
      connection.details();
      this.countRetransmits(connection);
    }
  }

  private countRetransmits(connection: Connection, report?: RelayReport): void {
    for (const { local, remote, retransmits } of pathAccounts(connection, report)) {
      if (retransmits === undefined) continue;
      const key = pathKey({ local, remote });
      const already = connection.counted?.get(key) ?? 0;
      if (retransmits <= already) continue;
      (connection.counted ??= new Map()).set(key, retransmits);
      const entry = this.retransmits.get(key);
      if (entry === undefined) this.retransmits.set(key, { path: { local, remote }, count: retransmits });
      else entry.count += retransmits - already;
    }
  }
}

const codeOf = (error: unknown): string =>
  error instanceof PlatformError ? error.code : ((error as NodeJS.ErrnoException | undefined)?.code ?? 'EIO');
