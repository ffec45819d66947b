// SPDX-License-Identifier: BSD-2-Clause

/**
 * What `amptcp doctor --path` asks: do MPTCP, LISP and the MTU get through to a destination? Tried, not looked up:
 *
 *   mapping  the mapping system is asked, where the map-cache does not know
 *   lisp     an RLOC-probe over each path
 *   mtu      ICMP echo between the RLOCs of each path, up to the largest outer packet
 *   mptcp    a connection over each path that the plan would use (MP_CAPABLE)
 *   mp_join  a further subflow over each of them
 */
import { plan } from '../gateway/plan.js';
import { pathKey, type Path, type PathStatus } from '../lisp/mapping.js';
import { addressFamily } from '../lisp/prefix.js';
import type { Xtr } from '../lisp/xtr.js';
import { outerHeaders } from '../platform/core-plane.js';
import type {
  Clock,
  Endpoint,
  Flow,
  MptcpConnection,
  MptcpEvent,
  PathMtu,
  Platform,
  PlatformError,
} from '../platform/platform.js';
import type { Finding, PathReport } from './api/schema.js';
import type { Config } from './config.types.js';

/** RFC 9293 lets a connection end without data; most servers wait for their client to speak. */
const SPEAKS_FIRST_MS = 300;
/** An empty line: HTTP servers skip it (RFC 9112 section 2.2), others wait for more. */
const EMPTY_LINE = Buffer.from('\r\n');
const JOIN_MS = 5000;
/** A subflow that the peer does not want is reset right after its handshake. */
const PROVE_MS = 300;
/** Paths measured at once, and in all: 16 RLOCs with 16 would be 256. */
const MEASURED_AT_ONCE = 8;
const MEASURED = 32;
/** IPv6 works on no link with less (RFC 8200 section 5). */
const LEAST_INNER_MTU = 1280;

export interface Examined {
  platform: Platform;
  config: Config;
  xtr: Xtr;
  /** The LISP device's MTU. */
  deviceMtu: number | undefined;
  /** Whether this daemon opens MPTCP connections itself. */
  proxies: boolean;
}

type ReportedPath = PathReport['paths'][number];
type Outcome = NonNullable<ReportedPath['mptcp'] | ReportedPath['join']>;

export async function examine(subject: Examined, destination: Endpoint): Promise<PathReport> {
  const { xtr, config } = subject;
  const findings: Finding[] = [];
  const resolution = await xtr.resolve(destination.address, config.lisp.iid);
  if (resolution.status !== 'found') {
    findings.push({
      name: 'mapping',
      ok: false,
      detail:
        resolution.status === 'negative'
          ? `the mapping system says that ${resolution.mapping.eid} has no RLOCs`
          : `no answer: ${resolution.reason}`,
      remedy: 'connections to it are passed by; `amptcp mapping add` gives it RLOCs by hand',
    });
    return { destination, findings, paths: [] };
  }
  const { mapping } = resolution;
  findings.push({
    name: 'mapping',
    ok: true,
    detail: `${mapping.eid} -> ${mapping.locators.map(({ rloc }) => rloc).join(', ')}`,
  });
  await Promise.all(mapping.locators.map(({ rloc }) => xtr.probe(rloc)));
  const remotes = new Set(mapping.locators.map(({ rloc }) => rloc));
  const statuses = xtr.paths().filter(({ remote }) => remotes.has(remote));
  const paths = plan(mapping, config.rlocs, (path) => xtr.path(path).state, {
    maxPaths: config.mptcp.maxSubflows,
  });
  findings.push({
    name: 'lisp',
    ok: paths.length > 0,
    detail: `${statuses.filter(({ state }) => state === 'up').length} of ${statuses.length} paths answer probes`,
    ...(paths.length === 0 && {
      remedy: 'let UDP ports 4341 and 4342 through between the RLOCs, both ways',
    }),
  });

  const mtus = await measureMtus(subject, statuses);
  findings.push(...mtuFindings(subject.deviceMtu, statuses, mtus));
  const reported = new Map(
    statuses.map((status): [string, ReportedPath] => {
      const mtu = mtus.get(pathKey(status));
      return [
        pathKey(status),
        {
          local: status.local,
          remote: status.remote,
          state: status.state,
          ...(status.rttMs !== undefined && { rttMs: status.rttMs }),
          ...(mtu?.state === 'measured' && { mtu: mtu.mtu - outerHeaders([status.remote]) }),
        },
      ];
    }),
  );
  if (subject.proxies) {
    for (const { path, kind, outcome, ...finding } of await tryMptcp(subject, destination, paths)) {
      findings.push(finding);
      const row = path && reported.get(pathKey(path));
      if (row && outcome !== undefined) Object.assign(row, { [kind]: outcome });
    }
  }
  return { destination, findings, paths: [...reported.values()] };
}

// ---------------------------------------------------------------- MTU

async function measureMtus(
  { platform, xtr, deviceMtu }: Examined,
  statuses: readonly PathStatus[],
): Promise<Map<string, PathMtu>> {
  const found = new Map<string, PathMtu>();
  const left = statuses.filter(({ state }) => state !== 'down').slice(0, MEASURED);
  const measure = async (): Promise<void> => {
    for (let path = left.shift(); path !== undefined; path = left.shift()) {
      const headers = outerHeaders([path.remote]);
      const mtu: PathMtu =
        platform.measurePathMtu === undefined || deviceMtu === undefined
          ? { state: 'unknown', reason: 'cannot be measured on this platform' }
          : await platform.measurePathMtu(
              { local: path.local, remote: path.remote },
              Math.min(65_535, deviceMtu + headers),
            );
      found.set(pathKey(path), mtu);
      if (mtu.state === 'measured') xtr.notePathMtu(path, mtu.mtu - headers);
    }
  };
  await Promise.all(Array.from({ length: MEASURED_AT_ONCE }, measure));
  return found;
}

function mtuFindings(
  deviceMtu: number | undefined,
  statuses: readonly PathStatus[],
  mtus: ReadonlyMap<string, PathMtu>,
): Finding[] {
  const findings: Finding[] = [];
  let whole = 0;
  for (const { local, remote } of statuses) {
    const mtu = mtus.get(pathKey({ local, remote }));
    if (mtu === undefined) continue;
    const over = `over ${local} -> ${remote}`;
    if (mtu.state === 'unknown') {
      findings.push({ name: 'mtu', ok: true, detail: `${over} unknown: ${mtu.reason}` });
      continue;
    }
    const inner = mtu.mtu - outerHeaders([remote]);
    if (deviceMtu !== undefined && inner >= deviceMtu) {
      whole++;
      continue;
    }
    const detail = `${over} inner packets of up to ${inner} octets, not the device's ${deviceMtu ?? '?'}`;
    if (mtu.blackHole)
      findings.push({
        name: 'mtu',
        ok: false,
        detail: `${detail}, and larger ones vanish without a word`,
        remedy: `set mtu = ${inner} under [lisp], or have ICMP "too big" let through on that way`,
      });
    else if (inner < LEAST_INNER_MTU)
      findings.push({
        name: 'mtu',
        ok: false,
        detail,
        remedy: `IPv6 needs ${LEAST_INNER_MTU}: raise the MTU of that way`,
      });
    else findings.push({ name: 'mtu', ok: true, detail: `${detail}; routers say so, and senders adapt` });
  }
  if (whole > 0)
    findings.unshift({
      name: 'mtu',
      ok: true,
      detail: `inner packets of the device's ${deviceMtu} octets get through on ${whole} of ${statuses.length} paths`,
    });
  return findings;
}

// ---------------------------------------------------------------- MPTCP

interface Attempt extends Finding {
  path?: Path;
  kind: 'mptcp' | 'join';
  outcome?: Outcome;
}

/** Each provider has its own middleboxes: what one lets through another may take out. */
async function tryMptcp(subject: Examined, remote: Endpoint, paths: readonly Path[]): Promise<Attempt[]> {
  const { platform, config } = subject;
  const prefix = config.intercept.nat.find(
    (candidate) => addressFamily(candidate) === addressFamily(remote.address),
  );
  if (prefix === undefined) {
    const detail = 'not tried: this gateway has no EID of its own (intercept.nat)';
    return [{ name: 'mptcp', kind: 'mptcp', ok: true, detail }];
  }
  const pinned: Flow[] = [];
  const pin = (path: Path) => (flow: Flow) => {
    pinned.push(flow);
    platform.plane.pin(flow, path, config.lisp.iid);
  };
  const attempts: Attempt[] = [];
  /** The one that further subflows are added to. */
  let kept: MptcpConnection | undefined;
  try {
    for (const path of paths) {
      const over = `over ${path.local} -> ${path.remote}`;
      const common = { path, kind: 'mptcp', name: 'mptcp' } as const;
      try {
        const link = await platform.connector.connect({
          source: { prefix },
          remote,
          multipath: true,
          viaLisp: true,
          timeoutMs: Math.min(5000, config.mptcp.connectTimeoutMs),
          beforeSyn: pin(path),
        });
        const { protocol } = link;
        if (protocol === 'mptcp' && kept === undefined) kept = link;
        else drop(link);
        attempts.push(
          protocol === 'mptcp'
            ? { ...common, ok: true, outcome: 'yes', detail: `${over} the server answers with MPTCP` }
            : {
                ...common,
                ok: false,
                outcome: 'no',
                detail: `${over} the server answers with plain TCP`,
                remedy: 'switch MPTCP on at the server, or find the middlebox that takes the option out',
              },
        );
      } catch (error) {
        attempts.push({
          ...common,
          ok: false,
          outcome: 'failed',
          detail: `no connection ${over}: ${(error as PlatformError).message}`,
          remedy: 'is there a server on that port?',
        });
      }
    }
    if (kept !== undefined) attempts.push(...(await tryJoins(platform.clock, kept, paths, pin)));
  } finally {
    if (kept !== undefined) drop(kept);
    for (const flow of pinned) platform.plane.unpin(flow, config.lisp.iid);
  }
  return attempts;
}

function drop(link: MptcpConnection): void {
  link.abandon();
  link.dispose();
}

/** One after the other, each taken back before the next: a server takes few at once. */
async function tryJoins(
  clock: Clock,
  link: MptcpConnection,
  paths: readonly Path[],
  pin: (path: Path) => (flow: Flow) => void,
): Promise<Attempt[]> {
  const events = new Events(clock, link);
  const joinable = (event: MptcpEvent): boolean => event.type === 'established';
  const common = { name: 'mp_join', kind: 'join' } as const;
  // Further subflows can be added once the server has acknowledged data, or sent some.
  if ((await events.wait(joinable, SPEAKS_FIRST_MS)) === undefined) {
    try {
      link.write?.(EMPTY_LINE);
    } catch {
      // Gone; the wait below says so.
    }
    if ((await events.wait(joinable, JOIN_MS)) === undefined) {
      const fallback = events.seen.some(({ type }) => type === 'fallback');
      const detail = fallback
        ? 'the connection fell back to plain TCP with the first data'
        : 'not tried: the server neither sent nor acknowledged anything';
      const remedy = 'a middlebox may take the option out of packets with data';
      return [{ ...common, ok: !fallback, detail, ...(fallback && { remedy }) }];
    }
  }
  const attempts: Attempt[] = [];
  for (const path of paths) {
    const over = `over ${path.local} -> ${path.remote}`;
    const failed = (outcome: Outcome, detail: string, remedy: string): void =>
      void attempts.push({ ...common, path, ok: false, outcome, detail: `${over} ${detail}`, remedy });
    try {
      const { id } = await link.addSubflow({
        localAddress: link.flow.local.address,
        remote: link.flow.remote,
        backup: true,
        beforeSyn: pin(path),
      });
      const about = (event: MptcpEvent): boolean =>
        (event.type === 'subflow-established' || event.type === 'subflow-closed') && event.subflow.id === id;
      const first = await events.wait(about, JOIN_MS);
      const last =
        first?.type === 'subflow-established' ? ((await events.wait(about, PROVE_MS)) ?? first) : first;
      if (last?.type === 'subflow-established')
        attempts.push({
          ...common,
          path,
          ok: true,
          outcome: 'yes',
          detail: `${over} the server takes a further subflow`,
        });
      else if (last?.type === 'subflow-closed' && last.refused === true)
        failed(
          'refused',
          'the server refuses a further subflow',
          'raise its limit: ip mptcp limits set subflows 8',
        );
      else
        failed(
          'no',
          last === undefined ? 'no answer to MP_JOIN' : 'MP_JOIN is answered with a reset',
          'find the middlebox that takes the option out, or the load balancer that sends it to another server',
        );
      if (last?.type !== 'subflow-closed') await link.removeSubflow(id).catch(() => undefined);
    } catch (error) {
      const { code, message } = error as PlatformError;
      if (code === 'ELIMIT') failed('refused', message, 'raise its limit: ip mptcp limits set subflows 8');
      else failed('failed', `no further subflow: ${message}`, 'has the server closed the connection?');
    }
  }
  return attempts;
}

/** What a connection tells, in order, to be waited for. */
class Events {
  readonly seen: MptcpEvent[] = [];
  private next = 0;
  private wake: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    link: MptcpConnection,
  ) {
    link.onEvent((event) => {
      this.seen.push(event);
      this.wake?.();
    });
  }

  /** The next event of a kind; undefined: none in time. */
  async wait(wanted: (event: MptcpEvent) => boolean, ms: number): Promise<MptcpEvent | undefined> {
    const deadline = this.clock.now() + ms;
    for (;;) {
      while (this.next < this.seen.length) {
        const event = this.seen[this.next++]!;
        if (wanted(event)) return event;
      }
      const left = deadline - this.clock.now();
      if (left <= 0) return undefined;
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimeout(resolve, left);
        this.wake = () => {
          this.clock.clearTimeout(timer);
          resolve();
        };
      });
      this.wake = undefined;
    }
  }
}
