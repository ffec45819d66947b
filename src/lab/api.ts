// SPDX-License-Identifier: BSD-2-Clause

/** Calls to a lab daemon's API; the path tells the lab's part of the wire format, the types are the API's own. */
import { request } from 'node:http';
import { ROUTES, type RouteName, type RouteResponse } from '../daemon/api/schema.js';
import { LabError } from './process.js';

export interface CallOptions {
  params?: Record<string, string | number>;
  query?: Record<string, string | number>;
  body?: unknown;
  timeoutMs?: number;
}

/** @throws LabError when the daemon is not reachable or answers with an error. */
export function call<N extends RouteName>(
  socketPath: string,
  name: N,
  options: CallOptions = {},
): Promise<RouteResponse<N>> {
  const route = ROUTES[name];
  const path = route.url.replace(/:(\w+)/g, (_, key: string) =>
    encodeURIComponent(String(options.params?.[key] ?? '')),
  );
  const query = new URLSearchParams(
    Object.entries(options.query ?? {}).map(([key, value]): [string, string] => [key, String(value)]),
  ).toString();
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath,
        path: query ? `${path}?${query}` : path,
        method: route.method,
        agent: false,
        timeout: options.timeoutMs ?? 10_000,
        headers:
          body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const status = response.statusCode ?? 0;
          if (status < 200 || status > 299) {
            reject(new LabError(`${route.method} ${path}: ${status} ${text}`));
            return;
          }
          try {
            resolve((text === '' ? undefined : JSON.parse(text)) as RouteResponse<N>);
          } catch (error) {
            reject(new LabError(`${route.method} ${path}: no JSON: ${text}`, { cause: error }));
          }
        });
      },
    );
    outgoing.on('timeout', () =>
      outgoing.destroy(new LabError(`${route.method} ${path}: no answer in time`)),
    );
    outgoing.on('error', (error) =>
      reject(new LabError(`${route.method} ${path}: ${error.message}`, { cause: error })),
    );
    outgoing.end(body);
  });
}
