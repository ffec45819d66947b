// SPDX-License-Identifier: BSD-2-Clause

/**
 * Whole daemons in one process and in virtual time: gateway, data-centre xTR and map-server as configured by files, control
 * planes and the C core as they are; only network, MPTCP and clients are simulated.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { ApiServer } from '../../../src/daemon/api/server.js';
import { ROUTES, type PathReport } from '../../../src/daemon/api/schema.js';
import { loadConfig } from '../../../src/daemon/config.js';
import { Daemon } from '../../../src/daemon/daemon.js';
import { State } from '../../../src/daemon/state.js';
import {
  createMemoryPlatform,
  NativeNetwork,
  SimulatedHost,
  SimulatedNetwork,
  VirtualClock,
  type MemoryPlatform,
} from '../../../src/platform/memory/index.js';
import { MemoryLispDataPlane } from '../../../src/platform/memory/lisp-data-plane.js';
import { observe, send, serve } from '../gateway/world.js';

const SERVER = { address: '198.18.1.10', port: 80 };
const MAP = '203.0.150.10';
const SITES = { gateway: ['203.0.113.2', '203.0.114.2'], dc: ['203.0.123.2', '203.0.124.2'] };

const mapConfig = `roles = ["map-server"]
[map_server]
addresses = ["${MAP}"]
[[map_server.site]]
name = "access"
key = "one"
eids = [{ prefix = "192.0.2.0/24", accept_more_specifics = true }]
[[map_server.site]]
name = "cloud"
key = "two"
eids = [{ prefix = "198.18.0.0/16", accept_more_specifics = true }]
`;
const xtr = (rlocs: string[], key: string, eid: string): string =>
  `${rlocs.map((address) => `[[rloc]]\naddress = "${address}"\nweight = 50\n`).join('')}[lisp]
map_resolvers = ["${MAP}"]
[[lisp.map_server]]
address = "${MAP}"
key = "${key}"
[[lisp.database]]
eid = "${eid}"
`;
const dcConfig = `roles = ["xtr"]\n${xtr(SITES.dc, 'two', '198.18.1.0/24')}`;
const gatewayConfig = `roles = ["access"]\n${xtr(SITES.gateway, 'one', '192.0.2.0/28')}[intercept]\nnat = ["192.0.2.0/28"]\n`;

interface Running {
  daemon: Daemon;
  api: ApiServer;
  platform: MemoryPlatform;
  file: string;
  lines: Record<string, unknown>[];
}

describe('daemons', () => {
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-daemon-'));
  const clock = new VirtualClock();
  const network = new SimulatedNetwork(clock, { delayMs: 5, queueBytes: 8_000_000, rateMbps: 15 });
  const native = new NativeNetwork(clock);
  const server = new SimulatedHost(clock);
  const running: Running[] = [];
  let gateway: Running;
  let map: Running;

  const start = async (
    name: string,
    config: string,
    rlocs: string[],
    behind?: SimulatedHost,
    nativePrefixes?: string[],
  ): Promise<Running> => {
    const file = join(folder, `${name}.conf`);
    const stateDir = join(folder, name);
    mkdirSync(stateDir, { recursive: true });
    writeFileSync(file, config.replace('\n', `\nstate_dir = "${stateDir}"\n`));
    const platform = createMemoryPlatform({
      clock,
      network,
      native,
      rlocs,
      behind,
      nativePrefixes,
      plane: (ownClock, out) => new MemoryLispDataPlane(ownClock, out),
    });
    const lines: Record<string, unknown>[] = [];
    const log = pino(
      { level: 'debug' },
      { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const daemon = new Daemon(platform, file, loadConfig(file).config, log, new State(stateDir));
    const api = new ApiServer(daemon);
    await api.register();
    await daemon.start();
    const entry = { daemon, api, platform, file, lines };
    running.push(entry);
    return entry;
  };
  const get = async (at: Running, url: string): Promise<unknown> => {
    const answer = await at.api.inject({ method: 'GET', url });
    assert.equal(answer.statusCode, 200, answer.body);
    return answer.json();
  };
  const call = async (
    at: Running,
    method: 'GET' | 'POST' | 'DELETE',
    url: string,
    payload?: object,
  ): Promise<{ status: number; body: unknown }> => {
    const pending = at.api.inject({ method, url, payload });
    let answer: Awaited<typeof pending> | undefined;
    void pending.then((value) => (answer = value));
    await clock.until(() => answer !== undefined, 60_000, `${method} ${url}`);
    return { status: answer!.statusCode, body: answer!.json() };
  };

  before(async () => {
    map = await start('map', mapConfig, []);
    await start('dc', dcConfig, SITES.dc, server);
    gateway = await start('gateway', gatewayConfig, SITES.gateway, undefined, ['10.10.0.0/24']);
    native.attach('198.18.0.0/15', (packet, reply) => server.input(packet, reply));
    await clock.until(
      () => map.daemon.lisp!.mapServer!.registrations().length === 2,
      30_000,
      'both sites to be registered',
    );
  });
  after(async () => {
    for (const { daemon, api } of running.reverse()) {
      let stopped = false;
      void daemon.stop().then(() => (stopped = true));
      await clock.until(() => stopped, 60_000, 'the stop');
      await api.stop();
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it('accelerate a download: held for the Map-Reply, two RLOCs, the C core in between', async () => {
    const service = serve(1_000_000);
    server.listen(SERVER, { mptcp: true, accept: service.accept });
    const client = await gateway.platform.interceptor.connect(SERVER).connected;
    const seen = observe(client);
    client.write(Buffer.from('GET'));
    assert.equal(
      ((await get(gateway, '/v1/status')) as { connections: object }).connections['held' as never],
      1,
    );
    await clock.until(() => seen.bytes > 200_000, 60_000, 'some data');
    const { connections } = (await get(gateway, '/v1/connections')) as {
      connections: { id: number; protocol: string; subflows: { path: object; state: string }[] }[];
    };
    assert.equal(connections.length, 1);
    assert.equal(connections[0]!.protocol, 'mptcp');
    assert.deepEqual(connections[0]!.subflows.map(({ path, state }) => ({ ...path, state })).sort(), [
      { local: SITES.gateway[0], remote: SITES.dc[0], state: 'established' },
      { local: SITES.gateway[1], remote: SITES.dc[1], state: 'established' },
    ]);
    const { paths } = (await get(gateway, '/v1/paths')) as {
      paths: { state: string; connections: number; bytesReceived: number }[];
    };
    assert.equal(paths.length, 4);
    assert.deepEqual(
      paths.map(({ connections: count }) => count),
      [1, 0, 0, 1],
    );
    assert.ok(paths[0]!.bytesReceived > 50_000 && paths[3]!.bytesReceived > 50_000);
    await clock.until(() => seen.ended, 60_000, 'the download');
    assert.equal(seen.hash(), service.hash[0]);
    client.end();
    await clock.until(() => gateway.daemon.gateway!.active === 0, 60_000, 'the end');
    const line = gateway.lines.find(({ event }) => event === 'connection-closed')!;
    assert.equal(line['msg'], 'connection to 198.18.1.10:80 closed: finished');
    assert.equal(line['down'], 1_000_000);
    assert.equal(line['reason'], 'finished');
    assert.equal((line['paths'] as object[]).length, 2);
    assert.equal(gateway.lines.filter(({ event }) => event === 'connection-closed').length, 1);
  });

  it('carry an upload whole', async () => {
    const service = serve(0);
    server.listen({ ...SERVER, port: 81 }, { mptcp: true, accept: service.accept });
    const client = await gateway.platform.interceptor.connect({ ...SERVER, port: 81 }).connected;
    observe(client);
    const hash = send(client, 500_000);
    await clock.until(() => service.seen[0]?.ended === true, 60_000, 'the upload');
    assert.equal(service.seen[0]!.hash(), hash);
    service.streams[0]!.end();
    await clock.until(() => gateway.daemon.gateway!.active === 0, 60_000, 'the end');
  });

  it('pass on what the mapping system says has no mapping', async () => {
    const service = serve(1000);
    server.listen({ address: '198.19.0.1', port: 80 }, { mptcp: true, accept: service.accept });
    const client = await gateway.platform.interceptor.connect({ address: '198.19.0.1', port: 80 }).connected;
    const seen = observe(client);
    await clock.until(() => seen.ended, 60_000, 'the download');
    const { bypass } = (await get(gateway, '/v1/bypass')) as { bypass: { prefix: string }[] };
    assert.equal(bypass.length, 1);
    client.end();
    await clock.until(() => gateway.daemon.gateway!.active === 0, 60_000, 'the end');
  });

  it('show registrations, and nothing of it elsewhere', async () => {
    const { registrations } = (await get(map, '/v1/registrations')) as {
      registrations: { eid: string; site: string; state: string }[];
    };
    assert.deepEqual(
      registrations.map(({ eid, site, state }) => ({ eid, site, state })),
      [
        { eid: '192.0.2.0/28', site: 'access', state: 'registered' },
        { eid: '198.18.1.0/24', site: 'cloud', state: 'registered' },
      ],
    );
    assert.deepEqual(await call(gateway, 'GET', '/v1/registrations'), {
      status: 409,
      body: { error: { code: 'no-role', message: 'this daemon has not the role "map-server"' } },
    });
    assert.equal((await call(map, 'GET', '/v1/connections')).status, 409);
    assert.equal((await call(map, 'GET', '/v1/mappings')).status, 409);
  });

  it('keep mappings of the API across a restart', async () => {
    const rlocs = [{ address: '203.0.123.2', priority: 1, weight: 100 }];
    const added = await call(gateway, 'POST', '/v1/mappings', { eid: '198.18.9.0/24', rlocs });
    assert.equal(added.status, 201);
    assert.equal((added.body as { source: string }).source, 'cli');
    const saved = JSON.parse(readFileSync(join(folder, 'gateway', 'mappings.json'), 'utf8')) as object[];
    assert.deepEqual(saved, [
      { eid: '198.18.9.0/24', iid: 0, locators: [{ rloc: '203.0.123.2', priority: 1, weight: 100 }] },
    ]);
    const shown = await call(gateway, 'GET', '/v1/mappings/lookup?eid=198.18.9.77');
    assert.equal((shown.body as { status: string; asked: boolean }).status, 'found');
    assert.equal((shown.body as { asked: boolean }).asked, false);
    assert.deepEqual((await call(gateway, 'DELETE', '/v1/mappings?eid=198.18.9.0/24')).body, {
      removed: true,
    });
    assert.deepEqual(await call(gateway, 'DELETE', '/v1/mappings?eid=198.18.9.0/24'), {
      status: 404,
      body: { error: { code: 'not-found', message: 'there is no mapping for 198.18.9.0/24 (instance 0)' } },
    });
    assert.deepEqual(await call(gateway, 'DELETE', '/v1/mappings?eid=198.18.1.0/24'), {
      status: 409,
      body: {
        error: {
          code: 'conflict',
          message: '198.18.1.0/24 was learnt from the mapping system: flush forgets it',
        },
      },
    });
  });

  it('answer bad requests with a sentence and go on', async () => {
    const cases: [Parameters<typeof call>[1], string, object | undefined, number, string][] = [
      [
        'POST',
        '/v1/mappings',
        { eid: '10.0.0.1/8', rlocs: [{ address: '192.0.2.1' }] },
        400,
        '"10.0.0.1/8" has bits set beyond its length; did you mean 10.0.0.0/8?',
      ],
      [
        'POST',
        '/v1/mappings',
        { eid: '10.0.0.0/8', rlocs: [{ address: 'x.y' }] },
        400,
        '"x.y" is no IPv4 or IPv6 address',
      ],
      [
        'POST',
        '/v1/mappings',
        { eid: '10.0.0.0/8', rlocs: [], more: 1 },
        400,
        'body/rlocs must NOT have fewer than 1 items',
      ],
      [
        'POST',
        '/v1/mappings',
        { eid: '10.0.0.0/8', rlocs: [{ address: '192.0.2.1' }], iid: '5' },
        400,
        'body/iid must be integer',
      ],
      ['GET', '/v1/connections/abc', undefined, 400, 'params/id must be integer'],
      ['GET', '/v1/connections/999', undefined, 404, 'there is no connection 999'],
      ['DELETE', '/v1/connections/999', undefined, 404, 'there is no connection 999'],
      [
        'GET',
        '/v1/doctor/path?destination=nowhere',
        undefined,
        400,
        '"nowhere" is no destination; expected 192.0.2.1:443 or [2001:db8::1]:443',
      ],
      ['POST', '/v1/paths/probe', { remote: '9.9.9.9' }, 404, 'no path leads to 9.9.9.9'],
      ['GET', '/v1/nothing', undefined, 404, 'there is no GET /v1/nothing'],
    ];
    for (const [method, url, payload, status, message] of cases) {
      const answer = await call(gateway, method, url, payload);
      assert.equal(answer.status, status, url);
      const { error } = answer.body as { error: { message: string } };
      assert.ok(error.message.includes(message), `${url}: ${error.message}`);
    }
    assert.equal(((await get(gateway, '/v1/status')) as { state: string }).state, 'running');
  });

  it('examine the way to a server: mapping, probes, MTU, MPTCP and a further subflow on each path', async () => {
    const ask = async (): Promise<PathReport> => {
      const { status, body } = await call(gateway, 'GET', `/v1/doctor/path?destination=${SERVER.address}:80`);
      assert.equal(status, 200);
      return body as PathReport;
    };
    const found = ({ findings }: PathReport, name: string): [boolean, string][] =>
      findings.filter((finding) => finding.name === name).map(({ ok, detail }) => [ok, detail]);
    const over = [0, 1].map((n) => `over ${SITES.gateway[n]} -> ${SITES.dc[n]}`);
    const pins = (): number => gateway.platform.plane.listPins().filter(({ gleaned }) => !gleaned).length;
    const before = pins();
    // This platform has no ICMP.
    const plain = await ask();
    assert.ok(plain.findings.every(({ ok }) => ok));
    assert.deepEqual(
      found(plain, 'mptcp')
        .map(([, detail]) => detail)
        .sort(),
      [`${over[0]} the server answers with MPTCP`, `${over[1]} the server answers with MPTCP`],
    );
    assert.deepEqual(
      found(plain, 'mp_join')
        .map(([, detail]) => detail)
        .sort(),
      [`${over[0]} the server takes a further subflow`, `${over[1]} the server takes a further subflow`],
    );
    assert.equal(found(plain, 'mtu').length, 4);
    for (const path of plain.paths) {
      const direct = SITES.gateway.indexOf(path.local) === SITES.dc.indexOf(path.remote);
      assert.deepEqual(
        [path.mtu, path.mptcp, path.join],
        [undefined, ...(direct ? ['yes', 'yes'] : [undefined, undefined])],
      );
    }
    // Nothing stays behind.
    assert.equal(pins(), before);
    assert.equal(gateway.daemon.gateway!.active, 0);

    gateway.platform.measurePathMtu = ({ local, remote }, wanted) =>
      Promise.resolve(
        local !== SITES.gateway[0]
          ? { state: 'measured', mtu: wanted, blackHole: false }
          : { state: 'measured', mtu: 1300, blackHole: remote === SITES.dc[0] },
      );
    const narrow = await ask();
    delete gateway.platform.measurePathMtu;
    assert.deepEqual(found(narrow, 'mtu'), [
      [true, "inner packets of the device's 1464 octets get through on 2 of 4 paths"],
      [
        false,
        `${over[0]} inner packets of up to 1264 octets, not the device's 1464, and larger ones vanish without a word`,
      ],
      [
        false,
        `over ${SITES.gateway[0]} -> ${SITES.dc[1]} inner packets of up to 1264 octets, not the device's 1464`,
      ],
    ]);
    assert.deepEqual(narrow.paths.map(({ mtu }) => mtu).sort(), [1264, 1264, 1464, 1464]);
  });

  it('reload all or nothing', async () => {
    const text = readFileSync(gateway.file, 'utf8');
    const broken = `${text}holdms = 5\nhold_max = -1\n`;
    writeFileSync(gateway.file, broken);
    const refused = await call(gateway, 'POST', '/v1/config/reload');
    assert.equal(refused.status, 422);
    const line = broken.split('\n').indexOf('holdms = 5') + 1;
    assert.deepEqual(refused.body, {
      error: {
        code: 'invalid-config',
        message: `${gateway.file} has 2 errors; nothing was changed`,
        details: [
          { line, key: 'intercept.holdms', message: 'unknown key; did you mean "hold_ms"?' },
          {
            line: line + 1,
            key: 'intercept.hold_max',
            message: 'expected an integer from 0 to 1000000, found -1',
          },
        ],
      },
    });
    assert.equal(gateway.daemon.config.intercept.holdMax, 1024);

    writeFileSync(
      gateway.file,
      `${text}hold_max = 5\n[relay]\nthreads = 7\n[[lisp.mapping]]\neid = "198.18.200.0/24"\nrlocs = [{ address = "203.0.123.2" }]\n`,
    );
    const taken = await call(gateway, 'POST', '/v1/config/reload');
    assert.deepEqual(taken, {
      status: 200,
      body: { changed: ['lisp.mapping', 'intercept.hold_max'], restart: ['relay.threads'] },
    });
    assert.equal(gateway.daemon.config.intercept.holdMax, 5);
    const shown = await call(gateway, 'GET', '/v1/mappings/show?eid=198.18.200.0/24');
    assert.equal((shown.body as { source: string }).source, 'static');
    assert.equal(
      (
        await call(gateway, 'POST', '/v1/mappings', {
          eid: '198.18.200.0/24',
          rlocs: [{ address: '1.2.3.4' }],
        })
      ).status,
      409,
    );
    const { warnings } = (await get(gateway, '/v1/status')) as { warnings: string[] };
    assert.deepEqual(warnings, ['changed in the file but in effect only after a restart: relay.threads']);

    writeFileSync(gateway.file, text);
    await call(gateway, 'POST', '/v1/config/reload');
    assert.equal((await call(gateway, 'GET', '/v1/mappings/show?eid=198.18.200.0/24')).status, 404);
  });

  it('never show a key', async () => {
    const text = JSON.stringify(await get(gateway, '/v1/config'));
    assert.ok(!text.includes('"one"') && text.includes('***'));
  });

  it('describe themselves, and tell Prometheus', async () => {
    const document = (await get(gateway, '/v1/openapi.json')) as {
      paths: Record<string, Record<string, object>>;
    };
    for (const { method, url } of Object.values(ROUTES)) {
      const path = url.replaceAll(/:(\w+)/g, '{$1}');
      assert.ok(document.paths[path]?.[method.toLowerCase()], `${method} ${path}`);
    }
    const metrics = (await gateway.api.inject({ method: 'GET', url: '/metrics' })).body;
    assert.match(metrics, /^amptcp_connections\{state="established"\} 0$/m);
    assert.match(metrics, /^amptcp_connections_total 3$/m);
    assert.match(metrics, /^amptcp_connections_closed_total\{reason="finished"\} 3$/m);
    assert.match(metrics, /^amptcp_relayed_bytes_total\{direction="down"\} 1001000$/m);
    assert.match(
      metrics,
      /^amptcp_path_received_bytes_total\{local="203\.0\.113\.2",remote="203\.0\.123\.2"\} [1-9]/m,
    );
    assert.match(metrics, /^amptcp_path_up\{local="203\.0\.113\.2",remote="203\.0\.123\.2"\} 1$/m);
    assert.match(
      metrics,
      /^amptcp_path_retransmits_total\{local="203\.0\.113\.2",remote="203\.0\.123\.2"\} \d/m,
    );
    assert.match(metrics, /^amptcp_map_cache_entries\{kind="positive"\} [1-9]/m);
    assert.match(metrics, /^# TYPE amptcp_plane_drops_total counter$/m);
  });

  it('withdraw what they registered when they stop', async () => {
    const other = await start(
      'other',
      dcConfig.replaceAll('198.18.1.0', '198.18.77.0').replaceAll('203.0.12', '203.0.22'),
      ['203.0.223.2', '203.0.224.2'],
      new SimulatedHost(clock),
    );
    const registered = (): boolean =>
      map.daemon.lisp!.mapServer!.registrations().some(({ eid }) => eid === '198.18.77.0/24');
    await clock.until(registered, 30_000, 'the registration');
    let stopped = false;
    void other.daemon.stop().then(() => (stopped = true));
    await clock.until(() => stopped && !registered(), 30_000, 'the withdrawal');
    assert.ok(existsSync(join(folder, 'other', 'control.json')));
  });
});
