// SPDX-License-Identifier: BSD-2-Clause

/**
 * The HTTP+JSON API of the daemon: every object, every route, in one place. The server validates requests and
 * describes itself (OpenAPI) by it; the CLI imports its types only, so that starting the CLI stays cheap.
 *
 * Conventions: addresses and prefixes are canonical text, octets and packets are counted as integers, times are
 * durations in the unit the name ends in (`Ms`, `Seconds`) or ISO 8601 text (`...At`). A list is an object with one named
 * array, so that it can grow. A failure is `{error: {code, message}}` with a status to match.
 */
import { Type, type Static, type TObject, type TSchema } from '@sinclair/typebox';

const object = <T extends Record<string, TSchema>>(
  properties: T,
  options: { $id?: string; description?: string } = {},
) => Type.Object(properties, { additionalProperties: false, ...options });

const literals = <T extends string>(...values: T[]) => Type.Unsafe<T>({ type: 'string', enum: values });

const Iid = Type.Integer({
  minimum: 0,
  maximum: 0xffffff,
  description: 'Instance-ID (RFC 8060 section 4.1)',
});
const Prefix = Type.String({
  minLength: 2,
  maxLength: 49,
  description: 'EID prefix; an address means one of full length',
});
const Address = Type.String({ minLength: 2, maxLength: 45 });
const Count = Type.Integer({ minimum: 0 });
const Milliseconds = Type.Number({ minimum: 0 });

// ---------------------------------------------------------------- objects

/** `code` is for programs and stable, `message` is for people. */
export const ERROR_CODES = {
  /** The request itself is wrong: types, ranges, no prefix. */
  invalid: 400,
  /** No such mapping, connection, subflow, or no such route. */
  'not-found': 404,
  /** Understood, but refused in the present state: exists already, owned by the configuration, the peer's limit is reached. */
  conflict: 409,
  /** The configuration file has errors; nothing was changed. `details` has them one by one. */
  'invalid-config': 422,
  /** The daemon does not have the role that answers this. */
  'no-role': 409,
  /** Asked for and not answered in time (mapping system, probe). */
  timeout: 504,
  /** Shutting down. */
  unavailable: 503,
  internal: 500,
} as const;
export type ErrorCode = keyof typeof ERROR_CODES;

export const ErrorBody = object(
  {
    error: object({
      code: literals(...(Object.keys(ERROR_CODES) as ErrorCode[])),
      message: Type.String(),
      details: Type.Optional(
        Type.Array(
          object({
            line: Type.Optional(Type.Integer()),
            key: Type.Optional(Type.String()),
            message: Type.String(),
          }),
        ),
      ),
    }),
  },
  { description: 'A failure' },
);
export type ErrorBody = Static<typeof ErrorBody>;

export const Endpoint = object({ address: Address, port: Type.Integer({ minimum: 0, maximum: 65535 }) });
export type Endpoint = Static<typeof Endpoint>;

export const PathState = literals('unknown', 'up', 'down');
export type PathState = Static<typeof PathState>;

export const PathPair = object({ local: Address, remote: Address });
export type PathPair = Static<typeof PathPair>;

export const PlaneStatus = object({
  kind: Type.String({ description: "'user', 'kernel' or 'memory'" }),
  device: Type.String(),
  mtu: Count,
  encapsulated: Count,
  decapsulated: Count,
  drops: Type.Record(Type.String(), Count, { description: 'Drops by cause' }),
  mappings: Count,
  pins: Count,
  queued: Count,
});
export type PlaneStatus = Static<typeof PlaneStatus>;

export const MapServerStatus = object({
  address: Address,
  state: literals('registered', 'pending', 'failed'),
  reason: Type.Optional(Type.String()),
  lastNotifyAt: Type.Optional(Type.String()),
});
export type MapServerStatus = Static<typeof MapServerStatus>;

export const Status = object({
  version: Type.String(),
  platform: Type.String(),
  pid: Type.Integer(),
  /** 'draining' after SIGTERM. */
  state: literals('starting', 'running', 'draining'),
  roles: Type.Array(Type.String()),
  configFile: Type.String(),
  startedAt: Type.String(),
  uptimeSeconds: Type.Number({ minimum: 0 }),
  intercepting: Type.Boolean(),
  connections: object({
    active: Count,
    /** Waiting for a Map-Reply. */
    held: Count,
    total: Count,
    /** The server side could not be reached; mirrored to the client. */
    failed: Count,
    /** Passed on without LISP: no mapping. */
    direct: Count,
  }),
  bytes: object({ up: Count, down: Count }),
  rlocs: Type.Array(
    object({
      address: Address,
      interface: Type.Optional(Type.String()),
      priority: Type.Integer(),
      weight: Type.Integer(),
    }),
  ),
  paths: object({ up: Count, down: Count, unknown: Count }),
  mapServers: Type.Array(MapServerStatus),
  plane: Type.Optional(PlaneStatus),
  /** What deserves attention, one sentence each. */
  warnings: Type.Array(Type.String()),
});
export type Status = Static<typeof Status>;

export const MappingLocator = object({
  rloc: Address,
  priority: Type.Integer({ minimum: 0, maximum: 255 }),
  weight: Type.Integer({ minimum: 0, maximum: 100 }),
  /** R bit of the record. */
  reachable: Type.Boolean(),
  /** What probing says, over all local RLOCs: up when one path is. */
  state: PathState,
});
export type MappingLocator = Static<typeof MappingLocator>;

export const Mapping = object({
  iid: Iid,
  eid: Prefix,
  locators: Type.Array(MappingLocator),
  /** Of a mapping without locators (RFC 9301 section 5.4). */
  action: Type.String(),
  source: literals('cli', 'static', 'map-reply', 'map-notify'),
  /** Absent for mappings that do not expire. */
  ttlSeconds: Type.Optional(Type.Number({ minimum: 0 })),
  expiresInSeconds: Type.Optional(Type.Number({ minimum: 0 })),
});
export type Mapping = Static<typeof Mapping>;

export const MappingAdd = object({
  eid: Prefix,
  iid: Type.Optional(Iid),
  rlocs: Type.Array(
    object({
      address: Address,
      priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 255, default: 1 })),
      weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 100, default: 100 })),
    }),
    { minItems: 1, maxItems: 32 },
  ),
});
export type MappingAdd = Static<typeof MappingAdd>;

export const Lookup = object({
  iid: Iid,
  eid: Prefix,
  /** true: the mapping system was asked; false: answered from the map-cache. */
  asked: Type.Boolean(),
  elapsedMs: Milliseconds,
  /** 'negative': the mapping system says that there are no RLOCs; 'unreachable': nobody answered, or nobody could be asked. */
  status: literals('found', 'negative', 'unreachable'),
  /** Of 'unreachable'. */
  reason: Type.Optional(Type.String()),
  /** Absent when unreachable; without locators when negative. */
  mapping: Type.Optional(Mapping),
});
export type Lookup = Static<typeof Lookup>;

export const Subflow = object({
  id: Type.Integer(),
  local: Endpoint,
  remote: Endpoint,
  /** Absent on a direct connection. */
  path: Type.Optional(PathPair),
  state: literals('joining', 'established', 'closed', 'refused'),
  backup: Type.Boolean(),
  bytesSent: Type.Optional(Count),
  bytesReceived: Type.Optional(Count),
  retransmits: Type.Optional(Count),
  rttMs: Type.Optional(Milliseconds),
});
export type Subflow = Static<typeof Subflow>;

export const Connection = object({
  id: Type.Integer(),
  client: Endpoint,
  destination: Endpoint,
  /** What the server sees as its peer; absent until the server side is being connected. */
  source: Type.Optional(Endpoint),
  state: literals('held', 'connecting', 'established', 'closing'),
  /** 'direct' goes by the host's ordinary routes, without LISP. */
  protocol: literals('mptcp', 'tcp', 'direct'),
  iid: Iid,
  token: Type.Optional(Type.Integer()),
  subflows: Type.Array(Subflow),
  /** Octets relayed from and to the client. */
  bytes: object({ up: Count, down: Count }),
  ageMs: Milliseconds,
});
export type Connection = Static<typeof Connection>;

export const SubflowAdd = object({
  /** RLOC of this host; the planner chooses when absent. */
  local: Type.Optional(Address),
  /** RLOC of the destination's mapping. */
  remote: Address,
  backup: Type.Optional(Type.Boolean()),
});
export type SubflowAdd = Static<typeof SubflowAdd>;

export const PathInfo = object({
  local: Address,
  remote: Address,
  state: PathState,
  /** Why it is in this state. */
  reason: Type.String(),
  rttMs: Type.Optional(Milliseconds),
  mtu: Type.Optional(Count),
  packetsSent: Count,
  bytesSent: Count,
  packetsReceived: Count,
  bytesReceived: Count,
  /** Connections with a subflow on it. */
  connections: Count,
});
export type PathInfo = Static<typeof PathInfo>;

export const Finding = object({
  name: Type.String(),
  ok: Type.Boolean(),
  detail: Type.String(),
  remedy: Type.Optional(Type.String()),
});
export type Finding = Static<typeof Finding>;

export const PathReport = object({
  destination: Endpoint,
  findings: Type.Array(Finding),
  paths: Type.Array(
    object({
      local: Address,
      remote: Address,
      state: PathState,
      rttMs: Type.Optional(Milliseconds),
      /** Largest inner packet that got through; absent: unknown. */
      mtu: Type.Optional(Count),
      /** Whether the server answers with MPTCP over this path; absent: not tried. */
      mptcp: Type.Optional(Type.Union([Type.Literal('yes'), Type.Literal('no'), Type.Literal('failed')])),
      /** Whether it takes a further subflow over this path (MP_JOIN). */
      join: Type.Optional(
        Type.Union([
          Type.Literal('yes'),
          Type.Literal('no'),
          Type.Literal('refused'),
          Type.Literal('failed'),
        ]),
      ),
    }),
  ),
});
export type PathReport = Static<typeof PathReport>;

export const Bypass = object({ prefix: Prefix, expiresInSeconds: Type.Number() });
export type Bypass = Static<typeof Bypass>;

export const Registration = object({
  /** Absent when no site is configured for what was registered. */
  site: Type.Optional(Type.String()),
  iid: Iid,
  eid: Prefix,
  state: literals('registered', 'expired', 'rejected'),
  /** Of a rejected one: 'authentication failed', 'no site for this EID prefix', 'old nonce', ... */
  reason: Type.Optional(Type.String()),
  /** Source address of the Map-Register. */
  from: Address,
  locators: Type.Array(object({ rloc: Address, priority: Type.Integer(), weight: Type.Integer() })),
  lastSeenSecondsAgo: Type.Number({ minimum: 0 }),
  /** Of rejected ones: how often. */
  count: Type.Optional(Count),
});
export type Registration = Static<typeof Registration>;

export const ConfigView = object({
  file: Type.String(),
  loadedAt: Type.String(),
  /** As the daemon uses it, defaults filled in; keys are shown as '***'. */
  config: Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true }),
});
export type ConfigView = Static<typeof ConfigView>;

export const ReloadResult = object({
  /** Keys whose new values are in effect. */
  changed: Type.Array(Type.String()),
  /** Keys whose new values wait for a restart. */
  restart: Type.Array(Type.String()),
});
export type ReloadResult = Static<typeof ReloadResult>;

// ---------------------------------------------------------------- lists and requests

export const MappingList = object({ mappings: Type.Array(Mapping) });
export const ConnectionList = object({ connections: Type.Array(Connection) });
export const SubflowList = object({ subflows: Type.Array(Subflow) });
export const PathList = object({ paths: Type.Array(PathInfo) });
export const FindingList = object({ findings: Type.Array(Finding) });
export const BypassList = object({ bypass: Type.Array(Bypass) });
export const RegistrationList = object({ registrations: Type.Array(Registration) });
export const Flushed = object({ flushed: Count });
export const Removed = object({ removed: Type.Boolean() });
export type MappingList = Static<typeof MappingList>;
export type ConnectionList = Static<typeof ConnectionList>;
export type SubflowList = Static<typeof SubflowList>;
export type PathList = Static<typeof PathList>;
export type FindingList = Static<typeof FindingList>;
export type BypassList = Static<typeof BypassList>;
export type RegistrationList = Static<typeof RegistrationList>;
export type Flushed = Static<typeof Flushed>;
export type Removed = Static<typeof Removed>;

const EidQuery = object({ eid: Prefix, iid: Type.Optional(Iid) });
const IdParams = object({ id: Type.Integer({ minimum: 0 }) });
const SubflowParams = object({ id: Type.Integer({ minimum: 0 }), subflow: Type.Integer({ minimum: 0 }) });

// ---------------------------------------------------------------- routes

export interface RouteSchema {
  method: 'GET' | 'POST' | 'DELETE';
  url: string;
  summary: string;
  tag: string;
  params?: TObject;
  querystring?: TObject;
  body?: TObject;
  /** Status of success, 200 unless told. */
  status?: number;
  response: TSchema;
}

const routes = <const T extends Record<string, RouteSchema>>(table: T): T => table;

/** One entry a route; the server registers a handler for each name. */
export const ROUTES = routes({
  status: {
    method: 'GET',
    url: '/v1/status',
    tag: 'daemon',
    summary: 'What the daemon is and does',
    response: Status,
  },
  configShow: {
    method: 'GET',
    url: '/v1/config',
    tag: 'daemon',
    summary: 'The configuration in effect',
    response: ConfigView,
  },
  configReload: {
    method: 'POST',
    url: '/v1/config/reload',
    tag: 'daemon',
    summary: 'Reads the configuration file again, all or nothing',
    response: ReloadResult,
  },
  mappingList: {
    method: 'GET',
    url: '/v1/mappings',
    tag: 'mappings',
    summary: 'The map-cache',
    querystring: object({ iid: Type.Optional(Iid) }),
    response: MappingList,
  },
  mappingAdd: {
    method: 'POST',
    url: '/v1/mappings',
    tag: 'mappings',
    summary: 'Adds or replaces a static mapping that survives a restart',
    body: MappingAdd,
    status: 201,
    response: Mapping,
  },
  mappingRemove: {
    method: 'DELETE',
    url: '/v1/mappings',
    tag: 'mappings',
    summary: 'Removes one mapping (exact prefix)',
    querystring: EidQuery,
    response: Removed,
  },
  mappingShow: {
    method: 'GET',
    url: '/v1/mappings/show',
    tag: 'mappings',
    summary: 'One mapping of the map-cache (exact prefix)',
    querystring: EidQuery,
    response: Mapping,
  },
  mappingLookup: {
    method: 'GET',
    url: '/v1/mappings/lookup',
    tag: 'mappings',
    summary: 'Longest match for an EID; asks the mapping system on a miss',
    querystring: EidQuery,
    response: Lookup,
  },
  mappingFlush: {
    method: 'POST',
    url: '/v1/mappings/flush',
    tag: 'mappings',
    summary: 'Forgets every learnt mapping',
    body: object({ iid: Type.Optional(Iid) }),
    response: Flushed,
  },
  connectionList: {
    method: 'GET',
    url: '/v1/connections',
    tag: 'connections',
    summary: 'Proxied connections',
    response: ConnectionList,
  },
  connectionShow: {
    method: 'GET',
    url: '/v1/connections/:id',
    tag: 'connections',
    summary: 'One connection with its subflows',
    params: IdParams,
    response: Connection,
  },
  connectionKill: {
    method: 'DELETE',
    url: '/v1/connections/:id',
    tag: 'connections',
    summary: 'Resets a connection towards both sides',
    params: IdParams,
    response: Removed,
  },
  subflowList: {
    method: 'GET',
    url: '/v1/connections/:id/subflows',
    tag: 'connections',
    summary: 'Subflows of a connection',
    params: IdParams,
    response: SubflowList,
  },
  subflowAdd: {
    method: 'POST',
    url: '/v1/connections/:id/subflows',
    tag: 'connections',
    summary: 'Adds a subflow to an RLOC',
    params: IdParams,
    body: SubflowAdd,
    status: 201,
    response: Subflow,
  },
  subflowRemove: {
    method: 'DELETE',
    url: '/v1/connections/:id/subflows/:subflow',
    tag: 'connections',
    summary: 'Removes a subflow',
    params: SubflowParams,
    response: Removed,
  },
  pathList: {
    method: 'GET',
    url: '/v1/paths',
    tag: 'paths',
    summary: 'Pairs of RLOCs with state and counters',
    response: PathList,
  },
  pathProbe: {
    method: 'POST',
    url: '/v1/paths/probe',
    tag: 'paths',
    summary: 'Probes paths now and waits for the answers (RFC 9301 section 7.1)',
    body: object({ remote: Type.Optional(Address) }),
    response: PathList,
  },
  doctorHost: {
    method: 'GET',
    url: '/v1/doctor',
    tag: 'doctor',
    summary: 'What is missing on this host',
    response: FindingList,
  },
  doctorPath: {
    method: 'GET',
    url: '/v1/doctor/path',
    tag: 'doctor',
    summary: 'Whether MPTCP, LISP and the MTU get through to a destination',
    querystring: object({
      destination: Type.String({
        minLength: 4,
        maxLength: 53,
        description: "'192.0.2.1:443' or '[2001:db8::1]:443'",
      }),
    }),
    response: PathReport,
  },
  bypassList: {
    method: 'GET',
    url: '/v1/bypass',
    tag: 'mappings',
    summary: 'Destinations known to have no mapping, not intercepted for now',
    response: BypassList,
  },
  registrationList: {
    method: 'GET',
    url: '/v1/registrations',
    tag: 'map-server',
    summary: 'What sites registered, and what was rejected and why',
    response: RegistrationList,
  },
});
export type RouteName = keyof typeof ROUTES;
type Part<N extends RouteName, K extends string> =
  (typeof ROUTES)[N] extends Record<K, infer S extends TSchema> ? Static<S> : undefined;
export type RouteParams<N extends RouteName> = Part<N, 'params'>;
export type RouteQuery<N extends RouteName> = Part<N, 'querystring'>;
export type RouteBody<N extends RouteName> = Part<N, 'body'>;
export type RouteResponse<N extends RouteName> = Part<N, 'response'>;
