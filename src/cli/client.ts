// SPDX-License-Identifier: BSD-2-Clause

/** The daemon's API from the other side: HTTP over its UNIX socket. Types come from the schema, code does not. */
import { readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { userInfo } from 'node:os';
import type {
  ErrorBody,
  ErrorCode,
  ROUTES,
  RouteBody,
  RouteName,
  RouteParams,
  RouteQuery,
  RouteResponse,
} from '../daemon/api/schema.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { Failure } from './failure.js';

type Wire = { [N in RouteName]: readonly [(typeof ROUTES)[N]['method'], (typeof ROUTES)[N]['url']] };

/** Repeats methods and URLs of the schema (the compiler compares them), so that starting the CLI loads no TypeBox. */
const WIRE: Wire = {
  status: ['GET', '/v1/status'],
  configShow: ['GET', '/v1/config'],
  configReload: ['POST', '/v1/config/reload'],
  mappingList: ['GET', '/v1/mappings'],
  mappingAdd: ['POST', '/v1/mappings'],
  mappingRemove: ['DELETE', '/v1/mappings'],
  mappingShow: ['GET', '/v1/mappings/show'],
  mappingLookup: ['GET', '/v1/mappings/lookup'],
  mappingFlush: ['POST', '/v1/mappings/flush'],
  connectionList: ['GET', '/v1/connections'],
  connectionShow: ['GET', '/v1/connections/:id'],
  connectionKill: ['DELETE', '/v1/connections/:id'],
  subflowList: ['GET', '/v1/connections/:id/subflows'],
  subflowAdd: ['POST', '/v1/connections/:id/subflows'],
  subflowRemove: ['DELETE', '/v1/connections/:id/subflows/:subflow'],
  pathList: ['GET', '/v1/paths'],
  pathProbe: ['POST', '/v1/paths/probe'],
  doctorHost: ['GET', '/v1/doctor'],
  doctorPath: ['GET', '/v1/doctor/path'],
  bypassList: ['GET', '/v1/bypass'],
  registrationList: ['GET', '/v1/registrations'],
};

const EXIT_OF_CODE: Record<ErrorCode, ExitCode> = {
  invalid: EXIT.usage,
  'not-found': EXIT.notFound,
  conflict: EXIT.refused,
  'no-role': EXIT.refused,
  'invalid-config': EXIT.checkFailed,
  timeout: EXIT.timeout,
  unavailable: EXIT.notRunning,
  internal: EXIT.failure,
};

/** Longer than the daemon ever takes (a Map-Request with every retry), short enough for a person. */
const TIMEOUT_MS = 30_000;
/** Far more than any honest answer. */
const MAX_ANSWER = 256 * 1024 * 1024;

type Given<T> = T extends undefined ? never : T & object;
export interface CallOptions<N extends RouteName> {
  params?: Given<RouteParams<N>>;
  query?: Given<RouteQuery<N>>;
  body?: Given<RouteBody<N>>;
  timeoutMs?: number;
}

export class ApiClient {
  constructor(readonly socket: string) {}

  /** @throws Failure */
  async call<N extends RouteName>(name: N, options: CallOptions<N> = {}): Promise<RouteResponse<N>> {
    const [method, url] = WIRE[name];
    const path = withQuery(fillIn(url, options.params), options.query);
    const { status, text } = await this.exchange(method, path, options.body, options.timeoutMs ?? TIMEOUT_MS);
    const body = parseJson(text);
    if (status >= 200 && status < 300 && body !== undefined) return body as RouteResponse<N>;
    const error = isErrorBody(body) ? body.error : undefined;
    if (error === undefined) {
      throw new Failure(
        `What answers at ${this.socket} is not amptcpd, or another version of it (HTTP status ${status} for ${method} ${path}).`,
        EXIT.failure,
        'unexpected-answer',
      );
    }
    throw new Failure(
      error.message,
      EXIT_OF_CODE[error.code] ?? EXIT.failure,
      error.code,
      undefined,
      error.details,
    );
  }

  private exchange(
    method: string,
    path: string,
    body: unknown,
    timeoutMs: number,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException): void => reject(unreachable(this.socket, error));
      const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const call = request(
        {
          socketPath: this.socket,
          method,
          path,
          agent: false,
          headers: {
            accept: 'application/json',
            host: 'amptcpd',
            ...(data === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': data.length }),
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          let size = 0;
          answer.on('data', (chunk: Buffer) => {
            chunks.push(chunk);
            size += chunk.length;
            if (size > MAX_ANSWER) call.destroy(new Error('the answer is too large'));
          });
          answer.on('error', fail);
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
          );
        },
      );
      const timer = setTimeout(() => {
        reject(
          new Failure(
            `amptcpd did not answer within ${timeoutMs / 1000} s at ${this.socket}.`,
            EXIT.timeout,
            'timeout',
          ),
        );
        call.destroy();
      }, timeoutMs);
      call.on('close', () => clearTimeout(timer));
      call.on('error', fail);
      call.end(data);
    });
  }
}

function fillIn(url: string, params: object = {}): string {
  const values = new Map(Object.entries(params));
  return url.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(values.get(name))));
}

function withQuery(path: string, query: object = {}): string {
  const pairs = Object.entries(query)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`);
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isErrorBody(body: unknown): body is ErrorBody {
  const error = (body as Partial<ErrorBody> | undefined)?.error;
  return typeof error?.message === 'string' && typeof error.code === 'string';
}

const START_HINT =
  process.platform === 'freebsd'
    ? 'Start it with: service amptcpd start'
    : 'Start it with: amptcpd --config FILE (as root)';

/** Why the socket cannot be talked to, in words that help. */
export function unreachable(socket: string, error: NodeJS.ErrnoException): Failure {
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new Failure(
        `The daemon is not running: there is no socket ${socket}.`,
        EXIT.notRunning,
        'not-running',
        `${START_HINT}, or name another socket with --socket or AMPTCP_SOCKET.`,
      );
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return new Failure(
        `The daemon is not running: nobody listens at ${socket}.`,
        EXIT.notRunning,
        'not-running',
        `${START_HINT}.`,
      );
    case 'EACCES':
    case 'EPERM': {
      const user = userInfo().username;
      const group = groupOf(socket) ?? 'amptcp';
      const join =
        process.platform === 'freebsd' ? `pw groupmod ${group} -m ${user}` : `usermod -aG ${group} ${user}`;
      return new Failure(
        `User ${user} may not use ${socket}: it is for root and the group ${group}.`,
        EXIT.noPermission,
        'no-permission',
        `Join the group (as root: ${join}; then log in again) or run this command as root.`,
      );
    }
    case 'ECONNRESET':
    case 'EPIPE':
      return new Failure(
        `The daemon at ${socket} closed the connection before it answered.`,
        EXIT.failure,
        'connection-lost',
        'It may just have been stopped; its log says more.',
      );
    default:
      return new Failure(
        `Cannot talk to the daemon at ${socket}: ${error.message}.`,
        EXIT.failure,
        'failure',
      );
  }
}

function groupOf(path: string): string | undefined {
  try {
    const { gid } = statSync(path);
    const line = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((entry) => entry.split(':')[2] === String(gid));
    const name = line?.split(':')[0];
    // A socket of root's own group has not been given to anyone: the group to join is still the product's.
    return gid === 0 || name === '' ? undefined : name;
  } catch {
    return undefined;
  }
}
