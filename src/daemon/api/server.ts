// SPDX-License-Identifier: BSD-2-Clause

/**
 * The HTTP+JSON API on a UNIX socket. Requests are validated by schema.ts before a handler sees them, answers are written by
 * it, and /v1/openapi.json describes it. A failure is {error: {code, message}} and never more than that one request's.
 */
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Registry } from 'prom-client';
import { GatewayError, type Gateway } from '../../gateway/gateway.js';
import { pathKey } from '../../lisp/mapping.js';
import { canonicalAddress, canonicalPrefix, isAddress, PrefixError } from '../../lisp/prefix.js';
import { ConfigError } from '../config.js';
import type { Daemon } from '../daemon.js';
import { examine } from '../examine.js';
import { createMetrics } from '../metrics.js';
import type { ClaimedSocket } from '../socket.js';
import {
  ERROR_CODES,
  ErrorBody,
  ROUTES,
  type ErrorCode,
  type RouteBody,
  type RouteName,
  type RouteParams,
  type RouteQuery,
  type RouteResponse,
  type RouteSchema,
} from './schema.js';
import * as Api from './schema.js';
import {
  connectionView,
  mappingView,
  pathViews,
  registrationViews,
  subflowViews,
  withoutKeys,
} from './views.js';

export class ApiError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details?: { line?: number; key?: string; message: string }[],
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

interface Call<N extends RouteName> {
  params: RouteParams<N>;
  query: RouteQuery<N>;
  body: RouteBody<N>;
}
type Handlers = { [N in RouteName]: (call: Call<N>) => RouteResponse<N> | Promise<RouteResponse<N>> };

export class ApiServer {
  private readonly app: FastifyInstance;
  private readonly metrics: Registry;

  constructor(private readonly daemon: Daemon) {
    this.metrics = createMetrics(daemon);
    this.app = Fastify({
      // A wrong type is an error and not a guess, and an unknown key is a misspelling.
      ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: true } },
      bodyLimit: 65_536,
      logger: false,
      forceCloseConnections: true,
    });
  }

  /** @throws Error when the socket cannot be made. */
  async start(socket: ClaimedSocket): Promise<void> {
    await this.register();
    const { server } = this.app;
    // Until its owner is set the socket is nobody else's.
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(socket.listen, () => {
          server.off('error', reject);
          resolve();
        });
      });
    } finally {
      process.umask(umask);
    }
    socket.secure();
  }

  async stop(): Promise<void> {
    const { server } = this.app;
    if (server.listening) {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    }
    await this.app.close();
  }

  /** For tests: a request without a socket. */
  async inject(request: { method: 'GET' | 'POST' | 'DELETE'; url: string; payload?: object }) {
    return this.app.inject(request);
  }

  async register(): Promise<void> {
    const { app } = this;
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'amptcpd',
          version: this.daemon.version,
          description: 'Control of one amptcp gateway, on its UNIX socket',
          license: { name: 'BSD-2-Clause' },
        },
        servers: [{ url: 'http://localhost' }],
      },
    });
    app.setErrorHandler((error, _request, reply) => this.fail(error as Error, reply));
    app.setNotFoundHandler((request, reply) =>
      this.fail(new ApiError('not-found', `there is no ${request.method} ${request.url}`), reply),
    );
    // A POST that needs no body may come without one.
    const json = app.getDefaultJsonParser('error', 'error');
    app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
      if (body.length === 0) done(null, undefined);
      else void json(request, body as string, done);
    });
    const handlers = this.handlers();
    for (const name of Object.keys(ROUTES) as RouteName[]) this.route(name, handlers);
    app.get('/v1/openapi.json', { schema: { hide: true } }, () => app.swagger());
    app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
      void reply.type(this.metrics.contentType);
      return this.metrics.metrics();
    });
    await app.ready();
  }

  private route<N extends RouteName>(name: N, handlers: Handlers): void {
    const {
      method,
      url,
      summary,
      tag,
      params,
      querystring,
      body,
      status = 200,
      response,
    } = ROUTES[name] as RouteSchema;
    const numbers = (schema: RouteSchema['params']): string[] =>
      Object.entries(schema?.properties ?? {})
        .filter(([, property]) => (property as { type?: string }).type === 'integer')
        .map(([key]) => key);
    const [numericParams, numericQuery] = [numbers(params), numbers(querystring)];
    this.app.route({
      method,
      url,
      schema: {
        operationId: name,
        summary,
        tags: [tag],
        ...(params && { params }),
        ...(querystring && { querystring }),
        ...(body && { body }),
        response: { [status]: response, '4xx': ErrorBody, '5xx': ErrorBody },
      },
      // What stands in a URL is text; only there may text be a number.
      preValidation: (request, _reply, done) => {
        toNumbers(request.params, numericParams);
        toNumbers(request.query, numericQuery);
        if (body !== undefined && request.body === undefined) (request as { body: unknown }).body = {};
        done();
      },
      handler: async (request: FastifyRequest, reply: FastifyReply) => {
        if (this.daemon.state === 'starting' && name !== 'status') {
          throw new ApiError('unavailable', 'the daemon is starting');
        }
        const result = await handlers[name]({
          params: request.params as RouteParams<N>,
          query: request.query as RouteQuery<N>,
          body: request.body as RouteBody<N>,
        });
        void reply.code(status);
        return result;
      },
    });
  }

  private fail(
    error: Error & { validation?: unknown; statusCode?: number },
    reply: FastifyReply,
  ): FastifyReply {
    const { code, message, details } = this.failure(error);
    return reply.code(ERROR_CODES[code]).send({ error: { code, message, ...(details && { details }) } });
  }

  private failure(error: Error & { validation?: unknown; statusCode?: number }): {
    code: ErrorCode;
    message: string;
    details?: { line?: number; key?: string; message: string }[];
  } {
    if (error instanceof ApiError) return error;
    if (error instanceof GatewayError) return { code: error.code, message: error.message };
    if (error instanceof PrefixError || error instanceof RangeError)
      return { code: 'invalid', message: error.message };
    if (error instanceof ConfigError) {
      return {
        code: 'invalid-config',
        message: `${error.file} has ${error.problems.length} error${error.problems.length === 1 ? '' : 's'}; nothing was changed`,
        details: error.problems,
      };
    }
    if (error.validation !== undefined) return { code: 'invalid', message: error.message };
    if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
      return { code: 'invalid', message: error.message };
    }
    this.daemon.log.error({ err: error }, 'an API request failed');
    return { code: 'internal', message: error.message };
  }

  // ---------------------------------------------------------------- handlers

  private xtr() {
    const xtr = this.daemon.lisp?.xtr;
    if (xtr === undefined)
      throw new ApiError('no-role', 'this daemon has no role with a map-cache (access, xtr)');
    return xtr;
  }
  private gateway(): Gateway {
    if (this.daemon.gateway === undefined) {
      throw new ApiError('no-role', 'this daemon has no role that proxies connections (access, data-centre)');
    }
    return this.daemon.gateway;
  }
  private iid(iid: number | undefined): number {
    return iid ?? this.daemon.config.lisp.iid;
  }
  private now(): number {
    return this.daemon.platform.clock.now();
  }

  private handlers(): Handlers {
    const { daemon } = this;
    return {
      status: () => this.status(),
      configShow: () => ({
        file: daemon.configFile,
        loadedAt: daemon.loadedAt.toISOString(),
        config: withoutKeys(daemon.config),
      }),
      configReload: () => daemon.reload(),

      mappingList: ({ query }) => {
        const xtr = this.xtr();
        const paths = xtr.paths();
        return { mappings: xtr.list(query.iid).map((mapping) => mappingView(mapping, paths, this.now())) };
      },
      mappingAdd: ({ body }) => this.addMapping(body),
      mappingRemove: ({ query }) => {
        const [eid, iid] = [canonicalPrefix(query.eid), this.iid(query.iid)];
        const xtr = this.xtr();
        if (!daemon.persistent.listMappings().some((saved) => saved.eid === eid && saved.iid === iid)) {
          const known = xtr.get(eid, iid);
          if (known === undefined)
            throw new ApiError('not-found', `there is no mapping for ${eid} (instance ${iid})`);
          throw new ApiError(
            'conflict',
            known.source === 'static'
              ? `${eid} is a mapping of the configuration file: remove it there and reload`
              : `${eid} was learnt from the mapping system: flush forgets it`,
          );
        }
        daemon.persistent.removeMapping(eid, iid);
        return { removed: xtr.delete(eid, iid, 'cli') };
      },
      mappingShow: ({ query }) => {
        const [eid, iid] = [canonicalPrefix(query.eid), this.iid(query.iid)];
        const xtr = this.xtr();
        const mapping = xtr.get(eid, iid);
        if (mapping === undefined)
          throw new ApiError('not-found', `there is no mapping for ${eid} (instance ${iid})`);
        return mappingView(mapping, xtr.paths(), this.now());
      },
      mappingLookup: async ({ query }) => {
        const xtr = this.xtr();
        const iid = this.iid(query.iid);
        const prefix = canonicalPrefix(query.eid);
        const address = prefix.slice(0, prefix.indexOf('/'));
        const from = this.now();
        const known = xtr.lookup(address, iid);
        const outcome =
          known === undefined
            ? await xtr.resolve(address, iid)
            : {
                status: known.locators.length > 0 ? ('found' as const) : ('negative' as const),
                mapping: known,
              };
        return {
          iid,
          eid: prefix,
          asked: known === undefined,
          elapsedMs: Math.max(0, this.now() - from),
          status: outcome.status,
          ...(outcome.status === 'unreachable'
            ? { reason: outcome.reason }
            : { mapping: mappingView(outcome.mapping, xtr.paths(), this.now()) }),
        };
      },
      mappingFlush: ({ body }) => ({ flushed: this.xtr().flush(body.iid) }),

      connectionList: () => ({
        connections: this.gateway()
          .list()
          .map((connection) => connectionView(connection, this.now())),
      }),
      connectionShow: ({ params }) => connectionView(this.gateway().get(params.id), this.now()),
      connectionKill: ({ params }) => {
        this.gateway().kill(params.id);
        return { removed: true };
      },
      subflowList: ({ params }) => ({ subflows: subflowViews(this.gateway().get(params.id)) }),
      subflowAdd: async ({ params, body }) => {
        const gateway = this.gateway();
        const { id } = await gateway.addSubflow(params.id, {
          ...(body.local !== undefined && { local: this.address(body.local) }),
          remote: this.address(body.remote),
          backup: body.backup,
        });
        const view = subflowViews(gateway.get(params.id)).find((subflow) => subflow.id === id);
        if (view === undefined) throw new ApiError('conflict', 'the subflow was closed again at once');
        return view;
      },
      subflowRemove: async ({ params }) => {
        await this.gateway().removeSubflow(params.id, params.subflow);
        return { removed: true };
      },

      pathList: () => ({ paths: this.paths() }),
      pathProbe: async ({ body }) => {
        const remote = body.remote === undefined ? undefined : this.address(body.remote);
        const probed = new Set((await this.xtr().probe(remote)).map(pathKey));
        const paths = this.paths().filter((path) => probed.has(pathKey(path)));
        if (remote !== undefined && paths.length === 0) {
          throw new ApiError('not-found', `no path leads to ${remote}: it is no RLOC of any known mapping`);
        }
        return { paths };
      },
      doctorHost: async () => ({ findings: await daemon.platform.doctor() }),
      doctorPath: ({ query }) => this.examine(query.destination),
      bypassList: async () => {
        this.gateway();
        return { bypass: await daemon.platform.interceptor.listBypass() };
      },
      registrationList: () => this.registrations(),
    };
  }

  private address(text: string): string {
    if (!isAddress(text)) throw new ApiError('invalid', `${JSON.stringify(text)} is no IPv4 or IPv6 address`);
    return canonicalAddress(text);
  }

  private paths(): Api.PathInfo[] {
    const xtr = this.xtr();
    return pathViews(
      xtr.paths(),
      this.daemon.platform.plane.paths(),
      this.daemon.gateway?.connectionsByPath() ?? new Map(),
      (path) => xtr.path(path),
    );
  }

  private addMapping(body: Api.MappingAdd): Api.Mapping {
    const xtr = this.xtr();
    const { persistent } = this.daemon;
    const [eid, iid] = [canonicalPrefix(body.eid), this.iid(body.iid)];
    const locators = body.rlocs.map(({ address, priority = 1, weight = 100 }) => ({
      rloc: this.address(address),
      priority,
      weight,
    }));
    if (new Set(locators.map(({ rloc }) => rloc)).size !== locators.length) {
      throw new ApiError('invalid', 'an RLOC is there twice');
    }
    if (xtr.get(eid, iid)?.source === 'static') {
      throw new ApiError(
        'conflict',
        `${eid} is a mapping of the configuration file: change it there and reload`,
      );
    }
    persistent.addMapping({ eid, iid, locators });
    return mappingView(xtr.set({ eid, iid, locators }, 'cli'), xtr.paths(), this.now());
  }

  private status(): Api.Status {
    const { daemon } = this;
    const { gateway, lisp, config } = daemon;
    const live = gateway?.liveBytes() ?? { up: 0, down: 0 };
    const counts = { up: 0, down: 0, unknown: 0 };
    for (const { state } of lisp?.xtr?.paths() ?? []) counts[state]++;
    const running = daemon.state !== 'starting';
    const device = lisp?.device;
    return {
      version: daemon.version,
      platform: daemon.platform.name,
      pid: process.pid,
      state: daemon.state,
      roles: config.roles,
      configFile: daemon.configFile,
      startedAt: daemon.startedAt.toISOString(),
      uptimeSeconds: Math.round((Date.now() - daemon.startedAt.getTime()) / 100) / 10,
      intercepting: gateway?.intercepting ?? false,
      connections: {
        active: gateway?.active ?? 0,
        held: gateway?.held ?? 0,
        total: gateway?.counters.total ?? 0,
        failed: gateway?.counters.failed ?? 0,
        direct: gateway?.counters.direct ?? 0,
      },
      bytes: {
        up: (gateway?.counters.up ?? 0) + live.up,
        down: (gateway?.counters.down ?? 0) + live.down,
      },
      rlocs: config.rlocs.map(({ address, interface: name, priority, weight }) => ({
        address,
        ...(name !== undefined && { interface: name }),
        priority,
        weight,
      })),
      paths: counts,
      mapServers: this.mapServers(),
      ...(running && device !== undefined && { plane: this.plane(device) }),
      warnings: this.warnings(counts),
    };
  }

  private plane(device: { device: string; mtu: number }): Api.PlaneStatus {
    const { plane } = this.daemon.platform;
    const { encapsulated, decapsulated, drops, mappings, pins, queued } = plane.stats();
    return { kind: plane.kind, ...device, encapsulated, decapsulated, drops, mappings, pins, queued };
  }

  private mapServers(): Api.MapServerStatus[] {
    return (this.daemon.lisp?.xtr?.registrations() ?? []).map(({ mapServer, state, detail, lastAckMs }) => ({
      address: mapServer,
      state: state === 'registered' || state === 'pending' ? state : ('failed' as const),
      ...(state !== 'registered' && { reason: detail }),
      ...(lastAckMs !== undefined && {
        lastNotifyAt: new Date(Date.now() - lastAckMs).toISOString(),
      }),
    }));
  }

  private warnings(paths: { up: number; down: number; unknown: number }): string[] {
    const { daemon } = this;
    const warnings: string[] = [];
    if (daemon.awaitingRestart.length > 0) {
      warnings.push(
        `changed in the file but in effect only after a restart: ${daemon.awaitingRestart.join(', ')}`,
      );
    }
    if (paths.up === 0 && paths.down > 0)
      warnings.push('every probed path is down: connections go past LISP');
    for (const { mapServer, state, detail } of daemon.lisp?.xtr?.registrations() ?? []) {
      if (state !== 'registered' && state !== 'pending') {
        warnings.push(`map-server ${mapServer} does not take our registration: ${detail}`);
      }
    }
    if (daemon.gateway !== undefined && !daemon.platform.connector.multipath) {
      warnings.push('this host has no Multipath TCP: connections use one path');
    }
    return warnings;
  }

  private examine(text: string): Promise<Api.PathReport> {
    const { platform, config, gateway, lisp } = this.daemon;
    const deviceMtu = lisp?.device?.mtu;
    return examine(
      { platform, config, xtr: this.xtr(), deviceMtu, proxies: gateway !== undefined },
      readEndpoint(text),
    );
  }

  private registrations(): Api.RegistrationList {
    const mapServer = this.daemon.lisp?.mapServer;
    if (mapServer === undefined) throw new ApiError('no-role', 'this daemon has not the role "map-server"');
    return registrationViews(mapServer);
  }
}

const toNumbers = (values: unknown, names: string[]): void => {
  const table = values as Record<string, unknown>;
  for (const name of names) {
    const text = table[name];
    if (typeof text === 'string' && /^-?\d{1,15}$/.test(text)) table[name] = Number(text);
  }
};

/** "192.0.2.1:443" or "[2001:db8::1]:443" */
export function readEndpoint(text: string): { address: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (!isAddress(address) || port < 1 || port > 65535) {
    throw new ApiError(
      'invalid',
      `${JSON.stringify(text)} is no destination; expected 192.0.2.1:443 or [2001:db8::1]:443`,
    );
  }
  return { address: canonicalAddress(address), port };
}
