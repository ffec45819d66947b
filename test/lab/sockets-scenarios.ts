// SPDX-License-Identifier: BSD-2-Clause
/* Scenarios of sockets.test.ts: `node sockets-scenarios.js NAME`, inside namespaces of its own. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { nativePart } from '../../src/native/index.js';
import { refusal } from '../../src/platform/linux/kernel-plane.js';
import type { SocketHandle } from '../../src/platform/platform.js';
import {
  assertReceived,
  buildNetwork,
  CLIENT,
  cut,
  deviceBytes,
  eventsOf,
  installed,
  MiniGateway,
  Peer,
  pin,
  RULES,
  SERVER,
  until,
} from './sockets-world.js';

const MB = 1_000_000;

interface World {
  client: Peer;
  server: Peer;
  gateway: MiniGateway;
}

async function world(options: { rate?: string; mptcp?: boolean; start?: boolean } = {}): Promise<World> {
  buildNetwork(options.rate);
  const [client, server] = [new Peer('client'), new Peer('server')];
  await Promise.all([client.wait('ready'), server.wait('ready')]);
  await server.listen(SERVER[4], 8080, options.mptcp ?? false);
  await server.listen(SERVER[6], 8080, options.mptcp ?? false);
  const gateway = new MiniGateway();
  if (options.start !== false) await gateway.start();
  return { client, server, gateway };
}

const transfers = async (family: 4 | 6): Promise<void> => {
  const { client, server, gateway } = await world();
  const size = 100 * MB;
  for (const [send, receive] of [
    [0, size],
    [size, 0],
    [size, size],
  ] as const) {
    const started = performance.now();
    const id = client.transfer({ address: SERVER[family], send, wish: { send: receive } });
    assertReceived(await client.outcome(id, 60_000), receive);
    await until('served', () => server.events.filter(({ event }) => event === 'served').length === id);
    const served = server.events.filter(({ event }) => event === 'served').at(-1)!.outcome!;
    assertReceived(served, send);
    const report = await gateway.report(id - 1);
    assert.equal(report.reason, 'finished');
    assert.equal(report.down, receive);
    assert.ok(report.up > send && report.up < send + 100);
    console.log(
      `up ${send / MB} MB, down ${receive / MB} MB: ${(performance.now() - started).toFixed(0)} ms`,
    );
  }
  const [first] = gateway.proxied;
  assert.equal(first!.flow.client.address, CLIENT[family]);
  assert.deepEqual(first!.flow.destination, { address: SERVER[family], port: 8080 });
  // What the server sees is an address of the gateway's prefix.
  assert.match(
    server.events.find(({ event }) => event === 'accepted')!.remote!,
    family === 4 ? /^192\.0\.2\./ : /^fd92:/,
  );
  await gateway.stop();
  assert.equal(installed(), '');
};

/** MPTCP with a second subflow as soon as it can be had. */
async function twoSubflows(gateway: MiniGateway, multipath = true): Promise<void> {
  gateway.connect = {
    multipath,
    beforeSyn: pin(1),
    congestionControl: 'cubic',
    notSentLowat: 262_144,
    ...gateway.connect,
  };
  gateway.onConnected = ({ connection }) =>
    connection!.onEvent((event) => {
      if (event.type === 'established')
        connection!
          .addSubflow({
            localAddress: connection!.flow.local.address,
            remote: connection!.flow.remote,
            beforeSyn: pin(2),
          })
          .catch((error: Error) => console.log(error.message));
    });
}

/** Each path moved its part, in whatever time: at least a tenth of `bytes`. */
function assertBothCarried(direction: 'rx' | 'tx', bytes: number): void {
  for (const path of ['v1', 'v2']) {
    const moved = deviceBytes(path, direction);
    assert.ok(moved > bytes / 10, `${path}: ${moved} octets`);
  }
}

async function cutPath(which: 1 | 2, source: 'nat' | 'client'): Promise<void> {
  const { client, gateway } = await world({ rate: '40mbit', mptcp: true });
  if (source === 'client') gateway.connect.source = { address: CLIENT[4] };
  await twoSubflows(gateway);
  const size = 20 * MB;
  // Open in both directions: the kernel adds no subflow to a connection that is half-closed.
  const id = client.transfer({ address: SERVER[4], wish: { send: size }, keepOpen: true });
  await until('some data', () => client.received(id) >= 5 * MB);
  const [proxied] = gateway.proxied;
  assert.equal(eventsOf(proxied!, 'subflow-established').length, 1);
  assert.equal(
    proxied!.connection!.flow.local.address.startsWith(source === 'nat' ? '192.0.2.' : CLIENT[4]),
    true,
  );
  const busy = proxied!.connection!.subflows();
  for (const { bytesReceived } of busy) assert.ok(bytesReceived! > 1 * MB, JSON.stringify(busy));
  cut(which);
  // As long as a gateway may take to notice.
  const noticed = performance.now();
  await until('the rest in flight', () => performance.now() - noticed > 400);
  const before = client.received(id);
  const removed = performance.now();
  await proxied!.connection!.removeSubflow(which - 1);
  await until('data again', () => client.received(id) >= before + 1 * MB, 2000);
  const took = performance.now() - removed;
  console.log(
    `1 MB more within ${took.toFixed(0)} ms of the removal (${((1 * MB * 8) / 40e6) * 1000} ms at the path's rate)`,
  );
  assert.ok(took < 1000);
  assertReceived(await client.outcome(id, 20_000), size);
  assert.equal(eventsOf(proxied!, 'subflow-closed').length, 1);
  const report = await gateway.report();
  assert.equal(report.reason, 'finished');
  await gateway.stop();
}

const scenarios: Record<string, () => Promise<void>> = {
  'transfers-ipv4': () => transfers(4),
  'transfers-ipv6': () => transfers(6),

  async 'half-close'() {
    const { client, gateway } = await world();
    const id = client.transfer({ address: SERVER[4], send: 1 * MB, wish: { send: 2 * MB, afterEnd: true } });
    assertReceived(await client.outcome(id), 2 * MB);
    assert.equal((await gateway.report()).reason, 'finished');
    await gateway.stop();
  },

  async 'reset-by-server'() {
    const { client, gateway } = await world();
    const id = client.transfer({
      address: SERVER[4],
      send: 5 * MB,
      wish: { send: 0, hold: true, resetAfter: 1 * MB },
      keepOpen: true,
    });
    const outcome = await client.outcome(id);
    assert.ok(['ECONNRESET', 'EPIPE'].includes(outcome.error!), outcome.error);
    const report = await gateway.report();
    assert.equal(report.reason, 'server-reset');
    assert.equal(report.code, 'ECONNRESET');
    await gateway.stop();
  },

  async 'reset-by-client'() {
    const { client, server, gateway } = await world();
    client.transfer({
      address: SERVER[4],
      wish: { send: 50 * MB, hold: true },
      resetAfter: 1 * MB,
      keepOpen: true,
    });
    const served = await server.wait('served');
    assert.ok(['ECONNRESET', 'EPIPE'].includes(served.outcome!.error!), served.outcome!.error);
    assert.equal((await gateway.report()).reason, 'client-reset');
    await gateway.stop();
  },

  /** The same with MPTCP towards the server: MP_FASTCLOSE both ways. */
  async 'reset-mptcp'() {
    const { client, server, gateway } = await world({ mptcp: true });
    await twoSubflows(gateway);
    client.transfer({
      address: SERVER[4],
      wish: { send: 50 * MB, hold: true },
      resetAfter: 1 * MB,
      keepOpen: true,
    });
    const served = await server.wait('served');
    assert.ok(['ECONNRESET', 'EPIPE'].includes(served.outcome!.error!), served.outcome!.error);
    assert.equal((await gateway.report()).reason, 'client-reset');
    const id = client.transfer({
      address: SERVER[4],
      send: 5 * MB,
      wish: { send: 0, hold: true, resetAfter: 1 * MB },
      keepOpen: true,
    });
    const outcome = await client.outcome(id);
    assert.ok(['ECONNRESET', 'EPIPE'].includes(outcome.error!), outcome.error);
    assert.equal((await gateway.report(1)).reason, 'server-reset');
    await gateway.stop();
  },

  async refused() {
    const { client, gateway } = await world();
    for (const [index, multipath] of [false, true].entries()) {
      gateway.connect.multipath = multipath;
      const id = client.transfer({ address: SERVER[4], port: 9 + 9000 });
      assert.equal((await client.outcome(id)).error, 'ECONNRESET');
      assert.equal(gateway.proxied[index]!.error?.code, 'ECONNREFUSED');
    }
    cut(1);
    gateway.connect.timeoutMs = 300;
    const id = client.transfer({ address: SERVER[4] });
    assert.equal((await client.outcome(id)).error, 'ECONNRESET');
    assert.equal(gateway.proxied[2]!.error?.code, 'ETIMEDOUT');
    await gateway.stop();
  },

  async timeouts() {
    const { client, server, gateway } = await world();
    gateway.relayOptions = { idleTimeoutMs: 400, halfOpenTimeoutMs: 150, keepaliveSeconds: 60 };
    const idle = client.transfer({ address: SERVER[4], wish: { send: 1000, hold: true }, keepOpen: true });
    assert.equal((await client.outcome(idle)).error, 'ECONNRESET');
    const first = await gateway.report(0);
    assert.equal(first.reason, 'idle-timeout');
    assert.ok(first.durationMs >= 390, String(first.durationMs));
    const half = client.transfer({ address: SERVER[4], wish: { send: 1000, hold: true } });
    assert.equal((await client.outcome(half)).error, 'ECONNRESET');
    const second = await gateway.report(1);
    assert.equal(second.reason, 'half-open-timeout');
    assert.ok(second.durationMs >= 140, String(second.durationMs));
    await server.wait('served');
    await gateway.stop();
  },

  async 'abort-and-counters'() {
    const { client, gateway } = await world();
    const id = client.transfer({ address: SERVER[4], wish: { send: 1000, hold: true }, keepOpen: true });
    await client.wait('first-byte');
    const { session } = gateway.proxied[0]!;
    await until('counters', () => session!.counters().down === 1000);
    assert.equal(gateway.relay.sessions(), 1);
    session!.abort('killed');
    assert.equal((await session!.closed).reason, 'killed');
    assert.equal((await client.outcome(id)).error, 'ECONNRESET');
    session!.abort('killed');
    const native = nativePart('relay');
    for (const bad of [0, 1, 2 ** 20, 2 ** 40, 2 ** 52, -1, NaN, Infinity]) {
      native.abort(bad, 'killed');
      native.counters(bad);
    }
    assert.equal(session!.counters().down, 1000);
    assert.throws(() => gateway.relay.run(-1 as SocketHandle, 99_999 as SocketHandle, gateway.relayOptions), {
      code: 'EBADF',
    });
    await gateway.stop();
  },

  /** A client that reads nothing stops the server, and nothing piles up in between. */
  async 'back-pressure'() {
    const { server, gateway } = await world();
    const reader = spawn(
      'ip',
      [
        'netns',
        'exec',
        'client',
        process.execPath,
        '-e',
        `const s=require('net').connect(8080,'${SERVER[4]}',()=>{s.pause();s.write('{"send":300000000}\\n')});process.stdin.on('data',()=>s.resume());let n=0;s.on('data',d=>n+=d.length);s.on('end',()=>{console.log(n)})`,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    let printed = '';
    reader.stdout.on('data', (data: Buffer) => (printed += data.toString()));
    await until('connected', () => gateway.proxied[0]?.session !== undefined);
    const { session } = gateway.proxied[0]!;
    let last = -1;
    let since = performance.now();
    await until('standstill', () => {
      const { down } = session!.counters();
      if (down !== last) {
        last = down;
        since = performance.now();
      }
      return last > 0 && performance.now() - since > 300;
    });
    assert.ok(last < 100 * MB, `passed on ${last}`);
    const resident = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
    console.log(`stands at ${last}, resident ${resident()} KiB`);
    reader.stdin.write('go\n');
    await until('the rest', () => printed.trim() === '300000000', 30_000);
    assert.equal((await gateway.report()).reason, 'finished');
    await server.wait('served');
    await gateway.stop();
  },

  async 'urgent-data'() {
    const { server, gateway } = await world();
    spawn('ip', [
      'netns',
      'exec',
      'client',
      'python3',
      '-c',
      `import socket
s=socket.create_connection(('${SERVER[4]}',8080))
s.sendall(b'{"send":0}\\n'+b'a'*1000)
s.send(b'U',socket.MSG_OOB)
s.sendall(b'b'*1000)
s.shutdown(socket.SHUT_WR)
while s.recv(100): pass`,
    ]);
    const served = await server.wait('served');
    // The urgent octet is in its place.
    assert.equal(served.outcome!.received, 2001);
    assert.equal((await gateway.report()).reason, 'finished');
    await gateway.stop();
  },

  async 'two-subflows'() {
    const { client, gateway } = await world({ rate: '40mbit', mptcp: true });
    await twoSubflows(gateway);
    const id = client.transfer({ address: SERVER[4], wish: { send: 15 * MB }, keepOpen: true });
    assertReceived(await client.outcome(id, 20_000), 15 * MB);
    assertBothCarried('rx', 15 * MB);
    const upload = client.transfer({ address: SERVER[4], send: 15 * MB, wish: { send: 0, afterEnd: true } });
    assertReceived(await client.outcome(upload, 20_000), 0);
    assertBothCarried('tx', 15 * MB);
    const report = await gateway.report();
    assert.equal(report.subflows?.length, 2);
    await gateway.stop();
  },

  /** A server that goes quiet behind a burst gets one acknowledgement more, and the data goes on as if nothing had been. */
  async 'quiet-after-a-burst'() {
    const { client, gateway } = await world({ mptcp: true });
    gateway.connect = { multipath: true };
    const told = (): number => {
      const [names, values] = readFileSync('/proc/self/net/netstat', 'latin1')
        .split('\n')
        .filter((line) => line.startsWith('MPTcpExt:'))
        .map((line) => line.split(' '));
      return Number(values![names!.indexOf('MPPrioTx')]);
    };
    const before = told();
    const request = { address: SERVER[4], send: 1000, keepOpen: true };
    const id = client.transfer({ ...request, wish: { send: 1 * MB, hold: true } });
    await until('all of it', () => client.received(id) === 1 * MB);
    await until('the relay to notice', () => gateway.proxied[0]!.starved > 0);
    assert.ok(told() > before);
    // Little is no burst, and nobody is asked about TCP.
    const little = client.transfer({ address: SERVER[4], wish: { send: 10_000 } });
    assertReceived(await client.outcome(little), 10_000);
    gateway.connect = { multipath: false };
    const plain = client.transfer({ ...request, wish: { send: 1 * MB, hold: true } });
    await until('all of TCP', () => client.received(plain) === 1 * MB);
    const last = client.transfer({ address: SERVER[4], wish: { send: 10 * MB } });
    assertReceived(await client.outcome(last), 10 * MB);
    assert.deepEqual(
      gateway.proxied.slice(1, 3).map(({ starved }) => starved),
      [0, 0],
    );
    await gateway.stop();
  },

  async 'two-subflows-ipv6'() {
    const { client, gateway } = await world({ rate: '40mbit', mptcp: true });
    execFileSync('ip', ['-n', 'server', '-6', 'route', 'add', 'fd92::/64', 'via', 'fd00:1::1']);
    await twoSubflows(gateway);
    const id = client.transfer({ address: SERVER[6], wish: { send: 15 * MB }, keepOpen: true });
    assertReceived(await client.outcome(id, 20_000), 15 * MB);
    assertBothCarried('rx', 15 * MB);
    await gateway.stop();
  },

  /** A stock server takes two more; the others are told apart from failures, and not counted on again. */
  async 'subflow-limit'() {
    const { client, gateway } = await world({ mptcp: true });
    gateway.connect.multipath = true;
    const id = client.transfer({ address: SERVER[4], wish: { send: 1000, hold: true }, keepOpen: true });
    await client.wait('first-byte');
    const proxied = gateway.proxied[0]!;
    const connection = proxied.connection!;
    await until('established', () => eventsOf(proxied, 'established').length === 1);
    const request = {
      localAddress: connection.flow.local.address,
      remote: connection.flow.remote,
      beforeSyn: () => undefined,
    };
    for (let count = 0; count < 4; count++) {
      const before = proxied.events.length;
      await connection.addSubflow(request);
      await until('its events', () => proxied.events.length > before + (count < 2 ? 0 : 1));
      if (count >= 2) break;
    }
    await until('refusal', () => eventsOf(proxied, 'subflow-closed').length === 1);
    const [closed] = eventsOf(proxied, 'subflow-closed');
    assert.ok(closed!.type === 'subflow-closed' && closed!.refused === true && closed!.code === 'ELIMIT');
    await assert.rejects(connection.addSubflow(request), { code: 'ELIMIT' });
    assert.equal(connection.subflows().filter(({ state }) => state === 'established').length, 3);
    // Room again.
    await connection.removeSubflow(1);
    await until('removed', () => eventsOf(proxied, 'subflow-closed').length === 2);
    await connection.addSubflow(request);
    await until(
      'again',
      () => connection.subflows().filter(({ state }) => state === 'established').length === 3,
    );
    await connection.setBackup(2, true);
    assert.equal(connection.subflows().find(({ id: one }) => one === 2)?.backup, true);
    proxied.session!.abort('killed');
    await client.outcome(id);
    await until(
      'closed event',
      () => eventsOf(proxied, 'closed').length + Number(proxied.report !== undefined) > 0,
    );
    await gateway.stop();
  },

  async 'no-mptcp-server'() {
    const { client, gateway } = await world({ mptcp: false });
    await twoSubflows(gateway);
    const id = client.transfer({ address: SERVER[4], wish: { send: 5 * MB } });
    assertReceived(await client.outcome(id), 5 * MB);
    const [proxied] = gateway.proxied;
    assert.equal(proxied!.connection!.protocol, 'tcp');
    assert.equal(eventsOf(proxied!, 'fallback').length, 1);
    assert.equal(eventsOf(proxied!, 'established').length, 0);
    await gateway.stop();
  },

  'cut-second-path': () => cutPath(2, 'nat'),
  'cut-first-path': () => cutPath(1, 'nat'),
  'cut-client-source': () => cutPath(2, 'client'),

  /** The client's own address all the way, IPv4 and IPv6, plain TCP. */
  async 'source-client'() {
    const { client, server, gateway } = await world();
    for (const family of [4, 6] as const) {
      gateway.connect.source = { address: CLIENT[family] };
      execFileSync('ip', [
        '-n',
        'server',
        `-${family}`,
        'route',
        'add',
        `${CLIENT[family]}`,
        'via',
        family === 4 ? '10.0.1.1' : 'fd00:1::1',
      ]);
      const id = client.transfer({ address: SERVER[family], wish: { send: 2 * MB } });
      assertReceived(await client.outcome(id), 2 * MB);
      assert.equal(server.events.filter(({ event }) => event === 'accepted').at(-1)!.remote, CLIENT[family]);
    }
    await gateway.stop();
  },

  async 'bypass-and-rules'() {
    const { client, server, gateway } = await world();
    const once = async (address: string): Promise<string> => {
      const count = server.events.filter(({ event }) => event === 'accepted').length;
      const id = client.transfer({ address, wish: { send: 1000 } });
      assertReceived(await client.outcome(id), 1000);
      return server.events.filter(({ event }) => event === 'accepted')[count]!.remote!;
    };
    const proxied = (remote: string): boolean => /^192\.0\.2\.|^fd92:/.test(remote);
    assert.ok(proxied(await once(SERVER[4])));
    await gateway.interceptor.addBypass('198.18.1.10/32', 60);
    await gateway.interceptor.addBypass('fd18::/64', 60);
    await gateway.interceptor.addBypass('198.18.1.10/32', 90);
    assert.ok(!proxied(await once(SERVER[4])));
    assert.ok(!proxied(await once(SERVER[6])));
    const listed = await gateway.interceptor.listBypass();
    assert.deepEqual(listed.map(({ prefix }) => prefix).sort(), ['198.18.1.10/32', 'fd18::/64']);
    assert.ok(listed.every(({ expiresInSeconds }) => expiresInSeconds > 50));
    // A wider one swallows it, a narrower one inside changes nothing.
    await gateway.interceptor.addBypass('198.18.0.0/16', 60);
    await gateway.interceptor.addBypass('198.18.1.0/24', 60);
    assert.deepEqual((await gateway.interceptor.listBypass()).map(({ prefix }) => prefix).sort(), [
      '198.18.0.0/16',
      'fd18::/64',
    ]);
    // Entries survive a change of the rules.
    await gateway.interceptor.update({ ...RULES, ports: [{ from: 8000, to: 9000 }] });
    assert.ok(!proxied(await once(SERVER[4])));
    await gateway.interceptor.removeBypass('198.18.0.0/16');
    await gateway.interceptor.removeBypass('198.18.0.0/16');
    assert.ok(proxied(await once(SERVER[4])));
    await gateway.interceptor.addBypass('198.18.1.10', 1);
    await until(
      'expiry',
      () =>
        execFileSync('nft', ['list', 'set', 'inet', 'amptcp', 'bypass4'], { encoding: 'utf8' }).includes(
          'elements',
        ) === false,
    );
    assert.ok(proxied(await once(SERVER[4])));
    // Excluded, another port, another interface: untouched.
    for (const rules of [
      { ...RULES, exclude: ['198.18.1.0/24'] },
      { ...RULES, ports: [{ from: 80, to: 80 }] },
      { ...RULES, interfaces: ['v1'] },
      { ...RULES, include: ['203.0.113.0/24'] },
    ]) {
      await gateway.interceptor.update(rules);
      assert.ok(!proxied(await once(SERVER[4])));
    }
    await assert.rejects(gateway.interceptor.update({ ...RULES, include: ['nonsense'] }), { code: 'EINVAL' });
    await assert.rejects(gateway.interceptor.update({ ...RULES, interfaces: ['a b; drop'] }), {
      code: 'EINVAL',
    });
    await gateway.interceptor.update({ ...RULES, include: [] });
    assert.ok(proxied(await once(SERVER[4])));
    await gateway.stop();
    assert.equal(installed(), '');
  },

  async 'stop-accepting'() {
    const { client, server, gateway } = await world();
    const going = client.transfer({
      address: SERVER[4],
      wish: { send: 50 * MB, afterEnd: true },
      keepOpen: true,
    });
    await server.wait('accepted');
    await gateway.interceptor.stopAccepting();
    const fresh = client.transfer({ address: SERVER[4], wish: { send: 1000 } });
    assertReceived(await client.outcome(fresh), 1000);
    assert.equal(server.events.filter(({ event }) => event === 'accepted').at(-1)!.remote, CLIENT[4]);
    // The one that was open goes on.
    client.process.send({ do: 'end', id: going });
    assertReceived(await client.outcome(going, 20_000), 50 * MB);
    await gateway.stop();
    assert.equal(installed(), '');
  },

  /** Killed by -9 new connections pass; the next start cleans up. */
  async 'fail-open'() {
    const { client, server, gateway } = await world({ start: false });
    const victim = spawn(process.execPath, [fileURLToPath(import.meta.url), 'victim'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    victim.stdout.on('data', (data: Buffer) => (printed += data.toString()));
    await until('victim up', () => printed.includes('up'));
    const before = client.transfer({ address: SERVER[4], wish: { send: 1000 } });
    assertReceived(await client.outcome(before), 1000);
    assert.match(server.events.find(({ event }) => event === 'accepted')!.remote!, /^192\.0\.2\./);
    victim.kill('SIGKILL');
    const killed = performance.now();
    await until('death', () => victim.exitCode !== null || victim.signalCode !== null);
    const after = client.transfer({ address: SERVER[4], wish: { send: 1000 } });
    assertReceived(await client.outcome(after), 1000);
    console.log(`passes ${(performance.now() - killed).toFixed(0)} ms after kill -9`);
    assert.equal(server.events.filter(({ event }) => event === 'accepted').at(-1)!.remote, CLIENT[4]);
    assert.notEqual(installed(), '');
    await gateway.host.clean('lisp0');
    assert.equal(installed(), '');
  },

  async victim() {
    await new MiniGateway().start();
    console.log('up');
    await new Promise(() => undefined);
  },

  /** MPTCP clients, plain TCP behind: further subflows arrive at the listener of the original port. */
  async 'data-centre'() {
    const { client, server, gateway } = await world({ start: false });
    await gateway.start({ ...RULES, protocol: 'mptcp', ports: [{ from: 8080, to: 8081 }] });
    // The client's own path manager adds a subflow from a second address.
    execFileSync('ip', ['-n', 'client', 'addr', 'add', '10.10.0.3/24', 'dev', 'c0']);
    execFileSync('ip', ['netns', 'exec', 'client', 'ip', 'mptcp', 'endpoint', 'add', '10.10.0.3', 'subflow']);
    const id = client.transfer({ address: SERVER[4], mptcp: true, wish: { send: 20 * MB }, keepOpen: true });
    assertReceived(await client.outcome(id, 20_000), 20 * MB);
    await server.wait('served');
    const report = await gateway.report();
    assert.equal(report.reason, 'finished');
    assert.equal(report.subflows?.length, 2, JSON.stringify(report.subflows));
    const plain = client.transfer({ address: SERVER[4], wish: { send: 1 * MB } });
    assertReceived(await client.outcome(plain), 1 * MB);
    await gateway.stop();
    assert.equal(installed(), '');
  },

  /** A daemon that is nobody, and what is left when it or its guard dies. */
  async guard() {
    const { client, server } = await world({ start: false });
    const directory = mkdtempSync(join(tmpdir(), 'amptcp-guard-'));
    const guarded = fileURLToPath(new URL('./sockets-guarded.js', import.meta.url));
    const told: Record<string, unknown>[] = [];
    const guard = spawn(process.execPath, [guarded, 'guard', directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface(guard.stdout).on('line', (line) =>
      told.push(JSON.parse(line) as Record<string, unknown>),
    );
    const of = (event: string): Record<string, unknown>[] => told.filter((one) => one['event'] === event);
    const once = async (): Promise<string> => {
      const id = client.transfer({ address: SERVER[4], wish: { send: 1 * MB } });
      assertReceived(await client.outcome(id), 1 * MB);
      return server.events.filter(({ event }) => event === 'accepted').at(-1)!.remote!;
    };
    await until('up', () => of('up').length === 1);
    const [up] = of('up');
    assert.equal(up!['uid'], 65534);
    assert.equal(BigInt(`0x${up!['capabilities'] as string}`), (1n << 12n) | (1n << 13n));
    assert.equal(up!['bounding'], up!['capabilities']);
    assert.equal(up!['noNewPrivileges'], '1');
    assert.equal(up!['queues'], 2);
    assert.deepEqual(up!['refused'], [
      'EINVAL',
      'EINVAL',
      'EACCES',
      'EACCES',
      'EACCES',
      'EACCES',
      'EINVAL',
      'EINVAL',
      'EINVAL',
    ]);
    const refusedHere = refusal(nativePart('bpf'));
    if (refusedHere === undefined) assert.equal(up!['programs'], 'EPERM, by the guard 2 attached, 0 pins');
    else console.log(`eBPF under a guard was not tried: ${refusedHere}`);
    assert.match(await once(), /^192\.0\.2\./);
    const socket = statSync(join(directory, 'api.sock'));
    assert.equal(socket.uid, 0);
    assert.equal(socket.gid, 65534);
    assert.equal(socket.mode & 0o777, 0o660);
    assert.equal(
      execFileSync('curl', ['-s', '--unix-socket', join(directory, 'api.sock'), 'http://x/'], {
        encoding: 'utf8',
      }),
      'hello',
    );
    guard.kill('SIGHUP');
    await until('hup', () => of('hup').length === 1);

    process.kill(up!['pid'] as number, 'SIGKILL');
    const killed = performance.now();
    await until(
      'rules gone',
      () => of('log').some(({ message }) => (message as string).includes('rules are removed')),
      1000,
    );
    console.log(`rules gone ${(performance.now() - killed).toFixed(0)} ms after the daemon's death`);
    await until('up again', () => of('up').length === 2);
    assert.match(await once(), /^192\.0\.2\./);

    guard.kill('SIGTERM');
    await until('guard ends', () => guard.exitCode !== null);
    assert.equal(guard.exitCode, 0);
    assert.equal(installed(), '');
    assert.equal(await once(), CLIENT[4]);

    const second = spawn(process.execPath, [guarded, 'guard', directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface(second.stdout).on('line', (line) =>
      told.push(JSON.parse(line) as Record<string, unknown>),
    );
    await until('third up', () => of('up').length === 3);
    second.kill('SIGKILL');
    const orphan = of('up')[2]!['pid'] as number;
    await until('the daemon follows its guard', () => installed() === '');
    await until('its end', () => /State:\tZ/.test(readFileSync(`/proc/${orphan}/status`, 'utf8')));
    assert.equal(await once(), CLIENT[4]);
    rmSync(directory, { recursive: true });
  },

  /** Without descriptors accepting rests and comes back. */
  async 'out-of-descriptors'() {
    const { client, gateway } = await world();
    const usage = process.cpuUsage();
    const hoard: number[] = [];
    execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=400:20000']);
    try {
      for (;;) hoard.push(openSync('/dev/null', 'r'));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EMFILE');
    }
    const id = client.transfer({ address: SERVER[4], wish: { send: 1000 } });
    const began = performance.now();
    await until('rests', () => gateway.interceptor.counters().paused >= 3);
    const spent = process.cpuUsage(usage);
    console.log(
      `rested ${gateway.interceptor.counters().paused} times in ${(performance.now() - began).toFixed(0)} ms, ${((spent.user + spent.system) / 1000).toFixed(0)} ms of processor`,
    );
    assert.ok(performance.now() - began > 150);
    for (const descriptor of hoard) closeSync(descriptor);
    assertReceived(await client.outcome(id), 1000);
    await gateway.stop();
  },
};

const name = process.argv[2];
if (name === 'list') {
  console.log(
    Object.keys(scenarios)
      .filter((one) => one !== 'victim')
      .join('\n'),
  );
} else if (name !== undefined && scenarios[name]) {
  scenarios[name]!().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}

export const scenarioNames = Object.keys(scenarios).filter((one) => one !== 'victim');
