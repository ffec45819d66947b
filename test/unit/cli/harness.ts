// SPDX-License-Identifier: BSD-2-Clause

/** Runs commands in this process against an API server that answers with fixed data, and hands back what they wrote. */
import { Config } from '@oclif/core';
import { TypeRegistry } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { output } from '../../../src/cli/output.js';
import { runCli } from '../../../src/cli/run.js';
import { ERROR_CODES, ROUTES, type ErrorCode, type RouteName } from '../../../src/daemon/api/schema.js';

// Type.Unsafe is plain JSON Schema, which only the server's validator reads by itself.
TypeRegistry.Set<{ enum?: unknown[] }>('Unsafe', (schema, value) => schema.enum?.includes(value) ?? true);

export const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
export const MAIN = join(ROOT, 'dist/src/cli/main.js');

export interface Result {
  exit: number;
  stdout: string;
  stderr: string;
}

let config: Promise<Config> | undefined;

/** amptcp('mapping', 'list') */
export async function amptcp(...argv: string[]): Promise<Result> {
  config ??= Config.load({ root: ROOT });
  const result: Result = { exit: 0, stdout: '', stderr: '' };
  const real = { ...output };
  const status = process.exitCode;
  output.stdout = (text) => void (result.stdout += text);
  output.stderr = (text) => void (result.stderr += text);
  try {
    result.exit = await runCli(argv, await config);
  } finally {
    Object.assign(output, real);
    // The runner's own exit status is none of the command's business.
    process.exitCode = status;
  }
  return result;
}

export interface Asked {
  route: RouteName;
  params: Record<string, string>;
  query: Record<string, string>;
  body: unknown;
}

type Answer =
  { code: ErrorCode; message: string; details?: object[] } | { raw: string; status: number } | object;

/** Both ways of the conversation are held against the schema, so that neither side is tested against a fiction. */
export class FakeDaemon {
  readonly asked: Asked[] = [];
  /** What was wrong with a request or an answer; a test looks at it after each command. */
  fault: unknown;
  private readonly directory = mkdtempSync(join(tmpdir(), 'amptcp-cli-'));
  readonly socket = join(this.directory, 'amptcpd.sock');
  private readonly server: Server;
  answers: Partial<Record<RouteName, Answer>> = {};

  private constructor() {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        let answer: { status: number; body: string };
        try {
          answer = this.answer(request.method ?? '', request.url ?? '', text);
        } catch (error) {
          answer = { status: 599, body: '' };
          this.fault = error;
        }
        response.writeHead(answer.status, { 'content-type': 'application/json' });
        response.end(answer.body);
      });
    });
  }

  static async start(answers: Partial<Record<RouteName, Answer>> = {}): Promise<FakeDaemon> {
    const daemon = new FakeDaemon();
    daemon.answers = answers;
    await new Promise<void>((resolve) => daemon.server.listen(daemon.socket, resolve));
    return daemon;
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.directory, { recursive: true, force: true });
  }

  private answer(method: string, target: string, text: string): { status: number; body: string } {
    const url = new URL(target, 'http://amptcpd');
    for (const [name, route] of Object.entries(ROUTES)) {
      const params = matchPath(route.url, url.pathname);
      if (route.method !== method || params === undefined) continue;
      const query = Object.fromEntries(url.searchParams);
      const body: unknown = text === '' ? undefined : JSON.parse(text);
      if ('body' in route)
        assert.ok(Value.Check(route.body, body), `${name}: body ${text} against the schema`);
      if ('querystring' in route) {
        const converted = Value.Convert(route.querystring, { ...query });
        assert.ok(
          Value.Check(route.querystring, converted),
          `${name}: query ${url.search} against the schema`,
        );
      }
      this.asked.push({ route: name as RouteName, params, query, body });
      const answer = this.answers[name as RouteName];
      if (answer === undefined) break;
      if ('raw' in answer) return { status: answer.status, body: answer.raw };
      if ('code' in answer)
        return { status: ERROR_CODES[answer.code], body: JSON.stringify({ error: answer }) };
      const wrong = [...Value.Errors(route.response, answer)][0];
      assert.equal(wrong, undefined, `${name}: answer against the schema: ${wrong?.path} ${wrong?.message}`);
      return { status: 'status' in route ? route.status : 200, body: JSON.stringify(answer) };
    }
    return { status: 404, body: JSON.stringify({ error: { code: 'not-found', message: 'No such route.' } }) };
  }
}

function matchPath(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split('/'), path.split('/')];
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(':')) params[part.slice(1)] = decodeURIComponent(given[index]!);
    else if (part !== given[index]) return undefined;
  }
  return params;
}
