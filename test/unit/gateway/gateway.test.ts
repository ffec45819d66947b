// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pathKey, type Path } from '../../../src/lisp/mapping.js';
import { mappingOf } from './scripted-mappings.js';
import {
  EID,
  MOVED,
  NAT,
  observe,
  PATH,
  send,
  serve,
  SERVER,
  SITE1,
  SITE2,
  world,
  type World,
} from './world.js';

/** Small, and the rates with it: every segment costs the simulation as much as a real one. */
const MB = 300_000;
const RATE = 15;
const subflowPaths = (w: World, id = 1): string[] =>
  [...w.gateway.get(id).subflows.values()]
    .filter(({ state }) => state === 'established')
    .map(({ path }) => pathKey(path!))
    .sort();
const keys = (paths: { local: string; remote: string }[]): string[] => paths.map(pathKey).sort();
const until = (w: World, done: () => boolean, what: string): Promise<void> =>
  w.clock.until(done, 120_000, what);

describe('gateway', () => {
  it('carries a download over both paths at nearly the sum of their rates', async () => {
    const w = await world();
    for (const { local, remote } of PATH.slice(0, 2)) w.network.setLink(local, remote, { rateMbps: RATE });
    const service = serve(10 * MB);
    w.listen(service);
    const client = await w.connect().connected;
    const seen = observe(client);
    client.write(Buffer.from('GET\n'));
    client.end();
    const from = w.clock.now();
    await until(w, () => w.records.length === 1, 'the connection to end');
    assert.equal(seen.bytes, 10 * MB);
    assert.equal(seen.hash(), service.hash[0]);
    assert.ok(seen.ended);
    const mbps = (10 * MB * 8) / 1000 / (w.clock.now() - from);
    assert.ok(mbps > 1.7 * RATE, `${mbps} Mbit/s`);
    assert.equal(w.plane.strayed + w.site.plane.strayed, 0);
    const [record] = w.records;
    assert.equal(record!.reason, 'finished');
    assert.equal(record!.protocol, 'mptcp');
    assert.equal(record!.down, 10 * MB);
    assert.equal(record!.up, 4);
    assert.equal(record!.eid, EID);
    assert.equal(record!.destination, '198.18.1.10:80');
    assert.deepEqual(keys(record!.paths), keys(PATH.slice(0, 2)));
    assert.equal(w.gateway.active, 0);
    assert.equal(w.platform.descriptors.size, 0);
  });

  it('carries an upload over three', async () => {
    const w = await world({ rlocs: 3 });
    for (const { local, remote } of PATH) w.network.setLink(local, remote, { rateMbps: RATE });
    const service = serve(1);
    w.listen(service);
    const client = await w.connect().connected;
    observe(client);
    const from = w.clock.now();
    const hash = send(client, 15 * MB);
    await until(w, () => service.seen[0]?.ended === true, 'the upload');
    assert.equal(service.seen[0]!.hash(), hash);
    const mbps = (15 * MB * 8) / 1000 / (w.clock.now() - from);
    assert.ok(mbps > 2.5 * RATE, `${mbps} Mbit/s`);
  });

  it('pins each subflow before its SYN leaves, and forgets the pins some time after the end', async () => {
    const w = await world({ rlocs: 3 });
    w.listen(serve(1000));
    const client = await w.connect().connected;
    const seen = observe(client);
    await until(w, () => seen.ended, 'the download');
    await until(w, () => subflowPaths(w).length === 3, 'three subflows');
    assert.deepEqual(keys(w.plane.syns), keys(PATH));
    assert.ok(w.plane.listPins().every(({ flow }) => flow.local.address.startsWith('192.0.2.')));
    client.end();
    await until(w, () => w.records.length === 1, 'the end');
    assert.equal(w.plane.pins.size, 3);
    await until(w, () => w.plane.pins.size === 0, 'no pins');
  });

  it('passes on a destination that has no mapping, and remembers it', async () => {
    const w = await world({ unmapped: true });
    w.mappings.learn(mappingOf('198.18.0.0/15', []));
    const service = serve(5000);
    w.listen(service);
    const first = w.connect();
    const seen = observe(await first.connected);
    await until(w, () => seen.ended, 'the download');
    assert.equal(seen.hash(), service.hash[0]);
    const [connection] = w.gateway.list();
    assert.equal(connection!.protocol, 'direct');
    assert.equal(connection!.source!.address, '10.10.0.2');
    assert.equal(w.plane.syns.length, 0);
    assert.deepEqual(
      (await w.platform.interceptor.listBypass()).map(({ prefix }) => prefix),
      ['198.18.0.0/15'],
    );
    assert.equal(w.connect().outcome, 'bypassed');
  });

  it('lets a held SYN go untouched where the platform holds it', async () => {
    const w = await world({ unmapped: true, holdsSyn: true });
    w.mappings.learn(mappingOf('198.18.0.0/15', []));
    const script = w.connect();
    await until(w, () => script.outcome === 'bypassed', 'the bypass');
    assert.equal(w.gateway.active, 0);
    assert.equal(w.gateway.counters.bypassed, 1);
  });

  it('intercepts again when a mapping comes', async () => {
    const w = await world({ unmapped: true });
    w.mappings.learn(mappingOf('198.18.0.0/15', []));
    w.listen(serve(0));
    await w.connect().connected;
    assert.equal(w.connect().outcome, 'bypassed');
    w.mappings.learn(mappingOf(EID, [...SITE1]));
    assert.notEqual(w.connect().outcome, 'bypassed');
    assert.deepEqual(await w.platform.interceptor.listBypass(), []);
  });

  it('passes by only the address itself when a mapping lies inside the negative prefix', async () => {
    const w = await world({ unmapped: true });
    w.mappings.learn(mappingOf('198.18.7.0/24', [...SITE1]));
    w.mappings.learn(mappingOf('198.18.0.0/15', []));
    w.listen(serve(0));
    await w.connect().connected;
    assert.deepEqual(
      (await w.platform.interceptor.listBypass()).map(({ prefix }) => prefix),
      ['198.18.1.10/32'],
    );
  });

  it('holds a connection while the mapping system is asked, then proxies it', async () => {
    const w = await world({ unmapped: true });
    w.listen(serve(1000));
    w.mappings.answer = () =>
      new Promise((resolve) => {
        w.clock.setTimeout(
          () => resolve({ status: 'found', mapping: w.mappings.learn(mappingOf(EID, SITE1.slice(0, 2))) }),
          200,
        );
      });
    const seen = observe(await w.connect().connected);
    assert.equal(w.gateway.held, 1);
    assert.equal(w.gateway.get(1).state, 'held');
    await until(w, () => seen.ended, 'the download');
    assert.equal(w.gateway.get(1).protocol, 'mptcp');
    assert.equal(w.gateway.held, 0);
  });

  it('holds no longer than told, and no more than told', async () => {
    const w = await world({ unmapped: true, intercept: { holdMs: 300, holdMax: 2 } });
    const service = serve(1000);
    w.listen(service);
    const seen = await Promise.all([1, 2, 3].map(async () => observe(await w.connect().connected)));
    assert.equal(w.gateway.held, 2);
    await until(w, () => seen.every(({ ended }) => ended), 'the downloads');
    assert.ok(w.clock.now() >= 300);
    assert.ok(w.gateway.list().every(({ protocol }) => protocol === 'direct'));
    assert.match(w.gateway.get(3).directReason!, /2 connections are held already/);
    assert.match(w.gateway.get(1).directReason!, /held too long/);
  });

  it('mirrors a refusal', async () => {
    for (const holdsSyn of [true, false]) {
      const w = await world({ holdsSyn });
      const script = w.connect();
      const seen = holdsSyn ? undefined : observe(await script.connected);
      await until(w, () => w.records.length === 1, 'the failure');
      assert.equal(script.outcome, 'refused');
      assert.equal(script.code, 'ECONNREFUSED');
      if (seen !== undefined) assert.equal(seen.code, 'ECONNRESET');
      assert.equal(w.records[0]!.reason, 'connect-failed');
      assert.equal(w.records[0]!.code, 'ECONNREFUSED');
      assert.equal(w.gateway.counters.failed, 1);
      assert.equal(w.plane.pins.size, 0);
      assert.equal(w.gateway.active, 0);
    }
  });

  it('mirrors a server that cannot be reached at all, having tried every path', async () => {
    const w = await world();
    for (const path of PATH) w.cut(path);
    const script = w.connect();
    await until(w, () => w.records.length === 1, 'the failure');
    assert.equal(script.code, 'ETIMEDOUT');
    assert.ok(w.clock.now() <= 10_001);
    assert.deepEqual(keys(w.mappings.suspected), keys(PATH.slice(0, 2)));
  });

  it('opens on the second path when nothing answers on the first', async () => {
    const w = await world();
    w.listen(serve(1000));
    w.cut(PATH[0]!);
    const seen = observe(await w.connect().connected);
    await until(w, () => seen.ended, 'the download');
    assert.deepEqual(subflowPaths(w), [pathKey(PATH[1]!)]);
    assert.ok(
      w.log.some(({ level, message }) => level === 'warn' && message.includes('no answer over a path')),
    );
  });

  it('opens on a path known to work', async () => {
    const w = await world();
    w.listen(serve(1000));
    w.mappings.setState(PATH[1]!, 'up');
    observe(await w.connect().connected);
    await until(w, () => w.plane.syns.length > 0, 'the SYN');
    assert.equal(pathKey(w.plane.syns[0]!), pathKey(PATH[1]!));
  });

  it('goes directly when every path is down', async () => {
    const w = await world();
    w.listen(serve(1000));
    for (const local of PATH)
      for (const remote of PATH) w.mappings.setState({ ...local, remote: remote.remote }, 'down');
    const seen = observe(await w.connect().connected);
    await until(w, () => seen.ended, 'the download');
    assert.equal(w.gateway.get(1).directReason, 'no usable path to any RLOC');
    assert.deepEqual(await w.platform.interceptor.listBypass(), []);
  });

  it('serves a server without MPTCP over one path', async () => {
    const w = await world();
    const service = serve(MB);
    w.listen({ ...service, mptcp: false });
    const client = await w.connect().connected;
    const seen = observe(client);
    await until(w, () => seen.ended, 'the download');
    assert.equal(seen.hash(), service.hash[0]);
    assert.equal(w.gateway.get(1).protocol, 'tcp');
    assert.equal(w.plane.syns.length, 1);
    client.end();
    await until(w, () => w.records.length === 1, 'the end');
    assert.equal(w.records[0]!.protocol, 'tcp');
  });

  describe('a connection that can have no other subflow follows by its pin', () => {
    const [first, second] = PATH as [Path, Path];
    const back = ({ local, remote }: Path): Path => ({ local: remote, remote: local });

    it('plain TCP: the site gives up the RLOC in mid-transfer', async () => {
      const w = await world();
      const service = serve(0);
      w.listen({ ...service, mptcp: false });
      const client = await w.connect().connected;
      const sent = send(client, 4 * MB);
      await until(w, () => (service.seen[0]?.bytes ?? 0) > MB, 'some data');
      assert.deepEqual(subflowPaths(w), [pathKey(first)]);
      w.cut(first);
      w.mappings.learn(mappingOf(EID, [second.remote]));
      await until(w, () => service.seen[0]!.ended, 'the rest');
      assert.equal(service.seen[0]!.hash(), sent);
      assert.equal(w.plane.syns.length, 1);
      w.gateway.sampleRetransmits();
      client.end();
      service.streams[0]!.end();
      await until(w, () => w.records.length === 1, 'the end');
      const [record] = w.records;
      assert.equal(record!.protocol, 'tcp');
      assert.equal(record!.reason, 'finished');
      assert.deepEqual(keys(record!.paths), keys([first, second]));
      const onPath = (path: Path): number =>
        record!.paths.find((one) => pathKey(one) === pathKey(path))!.bytesSent ?? 0;
      assert.ok(onPath(first) > 0 && onPath(second) > 0, JSON.stringify(record!.paths));
      assert.equal(w.gateway.counters.subflowsMoved, 1);
    });

    it('plain TCP: its path goes down under a download, comes back, and it stays where it is', async () => {
      const w = await world();
      for (const { local, remote } of PATH) w.network.setLink(local, remote, { rateMbps: RATE });
      const service = serve(20 * MB);
      w.listen({ ...service, mptcp: false });
      for (const path of [first, second]) w.mappings.setState(path, 'up');
      const seen = observe(await w.connect().connected);
      await until(w, () => seen.bytes > MB, 'some data');
      w.cut(first);
      w.site.plane.setPathState(back(first), false);
      w.mappings.setState(first, 'down');
      await until(w, () => seen.bytes > 4 * MB, 'data over the other path');
      assert.deepEqual(subflowPaths(w), [pathKey(second)]);
      w.restore(first);
      w.mappings.setState(first, 'up');
      await until(w, () => seen.ended, 'the rest');
      assert.deepEqual(subflowPaths(w), [pathKey(second)]);
      assert.equal(seen.hash(), service.hash[0]);
    });

    it('plain TCP: without any usable path it stays on its own', async () => {
      const w = await world();
      w.listen({ ...serve(0), mptcp: false });
      await w.connect().connected;
      for (const local of PATH)
        for (const remote of PATH) w.mappings.setState({ local: local.local, remote: remote.remote }, 'down');
      await w.clock.advance(1000);
      assert.deepEqual(subflowPaths(w), [pathKey(first)]);
      w.mappings.setState(second, 'up');
      await w.clock.advance(1000);
      assert.deepEqual(subflowPaths(w), [pathKey(second)]);
    });

    it('MPTCP whose peer takes no further subflow', async () => {
      const w = await world();
      const service = serve(0);
      w.listen({ ...service, extraSubflows: 0 });
      const client = await w.connect().connected;
      const sent = send(client, 10 * MB);
      await until(w, () => w.gateway.counters.subflowsRefused === 1, 'the refusal');
      w.cut(first);
      w.mappings.learn(mappingOf(EID, [second.remote]));
      await until(w, () => service.seen[0]!.ended, 'the rest');
      assert.equal(service.seen[0]!.hash(), sent);
      assert.deepEqual(subflowPaths(w), [pathKey(second)]);
    });

    it('MPTCP before the first data', async () => {
      const w = await world();
      const service = serve(0);
      w.listen(service);
      const client = await w.connect().connected;
      w.cut(first);
      w.mappings.learn(mappingOf(EID, [second.remote]));
      const sent = send(client, MB);
      await until(w, () => service.seen[0]?.ended === true, 'the upload');
      assert.equal(service.seen[0]!.hash(), sent);
      assert.deepEqual(subflowPaths(w), [pathKey(second)]);
    });
  });

  it("respects the peer's limit: shown, and asked once", async () => {
    const w = await world({ rlocs: 3 });
    const service = serve(0);
    w.listen({ ...service, extraSubflows: 1 });
    const client = await w.connect().connected;
    observe(client);
    send(client, 2 * MB, true);
    await until(w, () => service.seen[0]?.bytes === 2 * MB, 'the upload');
    await w.clock.advance(60_000);
    assert.equal(subflowPaths(w).length, 2);
    assert.equal(w.gateway.counters.subflowsRefused, 1);
    assert.equal(w.plane.syns.length, 3);
    assert.ok([...w.gateway.get(1).setbacks.values()].some(({ refused }) => refused));
  });

  it('follows the mapping: RLOCs come and go in mid-transfer', async () => {
    const w = await world({ rlocs: 3 });
    for (const { local, remote } of PATH) w.network.setLink(local, remote, { rateMbps: RATE });
    const service = serve(30 * MB);
    w.listen(service);
    w.mappings.learn(mappingOf(EID, [SITE1[0]]));
    const client = await w.connect().connected;
    const seen = observe(client);
    await until(w, () => seen.bytes > MB, 'some data');
    assert.deepEqual(subflowPaths(w), keys(PATH.slice(0, 1)));
    w.mappings.learn(mappingOf(EID, [...SITE1]));
    await until(w, () => subflowPaths(w).length === 3, 'three subflows');
    w.mappings.learn(mappingOf(EID, [SITE1[1], SITE1[2]]));
    await until(w, () => subflowPaths(w).length === 2, 'two subflows');
    assert.deepEqual([...w.gateway.get(1).subflows.values()].map(({ path }) => path!.remote).sort(), [
      SITE1[1],
      SITE1[2],
    ]);
    await until(w, () => seen.ended, 'the rest');
    assert.equal(seen.bytes, 30 * MB);
    assert.equal(seen.hash(), service.hash[0]);
    assert.equal(w.plane.strayed + w.site.plane.strayed, 0);
  });

  it('moves to another site without the client noticing', async () => {
    const w = await world();
    for (const { local, remote } of [...PATH, ...MOVED]) w.network.setLink(local, remote, { rateMbps: RATE });
    const service = serve(20 * MB);
    w.listen(service);
    const client = await w.connect().connected;
    const seen = observe(client);
    await until(w, () => seen.bytes > 2 * MB, 'some data');
    w.move();
    w.mappings.learn(mappingOf(EID, [...SITE2]));
    await until(w, () => subflowPaths(w).join() === keys(MOVED).join(), 'the new paths');
    await until(w, () => seen.ended, 'the rest');
    assert.equal(seen.bytes, 20 * MB);
    assert.equal(seen.hash(), service.hash[0]);
    assert.equal(seen.code, undefined);
  });

  it('keeps a connection whose mapping expires, and asks again', async () => {
    const w = await world();
    w.listen(serve(0));
    const client = await w.connect().connected;
    observe(client);
    client.write(Buffer.alloc(1000));
    await until(w, () => subflowPaths(w).length === 2, 'two subflows');
    w.mappings.forget(EID);
    await w.clock.advance(100);
    assert.deepEqual(w.mappings.asked, [SERVER.address]);
    assert.equal(subflowPaths(w).length, 2);
  });

  it('notices a silent path by itself, goes on over the other within a second, and comes back', async () => {
    const w = await world();
    for (const { local, remote } of PATH) w.network.setLink(local, remote, { rateMbps: RATE });
    const service = serve(60 * MB);
    w.listen(service);
    const watcher = w.watch();
    // A suspect path is probed quickly: the answer is there, or it is not.
    const cut = new Set<string>();
    w.mappings.onSuspect = (path) => {
      w.clock.setTimeout(() => {
        if (cut.has(pathKey(path))) w.mappings.setState(path, 'down');
      }, 300);
    };
    for (const path of PATH.slice(0, 2)) w.mappings.setState(path, 'up');
    const client = await w.connect().connected;
    const seen = observe(client);
    await until(w, () => seen.bytes > 5 * MB, 'some data');
    cut.add(pathKey(PATH[1]!));
    w.cut(PATH[1]!);
    const at = w.clock.now();
    await until(w, () => subflowPaths(w).length === 1, 'the subflow to be removed');
    assert.ok(w.clock.now() - at < 1000, `${w.clock.now() - at} ms`);
    const before = seen.bytes;
    await w.clock.advance(1000);
    const mbps = ((seen.bytes - before) * 8) / 1e6;
    assert.ok(mbps > 0.8 * RATE, `${mbps} Mbit/s on the other path`);
    cut.clear();
    w.restore(PATH[1]!);
    w.mappings.setState(PATH[1]!, 'up');
    await until(w, () => subflowPaths(w).length === 2, 'the subflow to come back');
    await until(w, () => seen.ended, 'the rest');
    assert.equal(seen.hash(), service.hash[0]);
    watcher.stop();
  });

  it('never removes the last subflow, and replaces it when its path is back', async () => {
    const w = await world({ rlocs: 1 });
    w.network.setLink(PATH[0]!.local, PATH[0]!.remote, { rateMbps: RATE });
    const service = serve(20 * MB);
    w.listen(service);
    w.mappings.setState(PATH[0]!, 'up');
    const client = await w.connect().connected;
    const seen = observe(client);
    await until(w, () => seen.bytes > MB, 'some data');
    w.cut(PATH[0]!);
    w.mappings.setState(PATH[0]!, 'down');
    await w.clock.advance(20_000);
    assert.equal(w.gateway.get(1).subflows.size, 1);
    assert.equal(w.gateway.get(1).state, 'established');
    w.restore(PATH[0]!);
    w.mappings.setState(PATH[0]!, 'up');
    const at = w.clock.now();
    await until(w, () => seen.ended, 'the rest');
    assert.ok(w.clock.now() - at < 6000, `${w.clock.now() - at} ms after the outage`);
    assert.equal(seen.hash(), service.hash[0]);
  });

  it('mirrors resets both ways', async () => {
    const w = await world();
    const service = serve(0);
    w.listen(service);
    const client = await w.connect().connected;
    const seen = observe(client);
    client.write(Buffer.from('x'));
    await until(w, () => service.seen[0]?.bytes === 1, 'the octet');
    service.streams[0]!.reset();
    await until(w, () => seen.closed, 'the reset');
    assert.equal(seen.code, 'ECONNRESET');
    assert.equal(w.records[0]!.reason, 'server-reset');

    const other = await w.connect().connected;
    observe(other);
    other.write(Buffer.from('x'));
    await until(w, () => service.seen[1]?.bytes === 1, 'the octet');
    other.reset();
    await until(w, () => service.seen[1]!.closed, 'the reset');
    assert.equal(w.records[1]!.reason, 'client-reset');
  });

  it('cleans up after a client that goes before it is answered', async () => {
    const w = await world({ holdsSyn: true });
    w.listen(serve(0));
    const script = w.connect();
    script.giveUp();
    await until(w, () => w.records.length === 1, 'the end');
    assert.equal(w.records[0]!.reason, 'client-gone');
    assert.equal(w.gateway.active, 0);
    assert.equal(w.platform.descriptors.size, 0);
  });

  it('drains: lets the present finish, takes no more, then resets the rest', async () => {
    const w = await world();
    const service = serve(0);
    w.listen(service);
    const [quick, slow] = [await w.connect().connected, await w.connect().connected];
    observe(quick);
    const seen = observe(slow);
    for (const stream of [quick, slow]) stream.write(Buffer.from('x'));
    await until(w, () => service.seen.length === 2 && service.seen.every(({ bytes }) => bytes === 1), 'both');
    let stopped = false;
    void w.gateway.stop(3000).then(() => (stopped = true));
    quick.end();
    service.streams[0]!.end();
    await w.clock.advance(100);
    assert.equal(w.connect().outcome, 'bypassed');
    assert.equal(w.gateway.active, 1);
    assert.equal(stopped, false);
    await until(w, () => stopped, 'the stop');
    assert.equal(seen.code, 'ECONNRESET');
    assert.deepEqual(w.records.map(({ reason }) => reason).sort(), ['drain', 'finished']);
    assert.equal(w.plane.pins.size, 0);
    assert.ok(w.clock.now() < 5000);
  });

  it("shows the client's own address when told to", async () => {
    const w = await world({ intercept: { source: 'client' } });
    w.listen(serve(0));
    observe(await w.connect().connected);
    await until(w, () => w.gateway.get(1).state === 'established', 'the connection');
    assert.equal(w.gateway.get(1).source!.address, '10.10.0.2');
  });

  it('spreads over its own prefix', async () => {
    const w = await world();
    w.listen(serve(0));
    const sources = new Set<string>();
    for (let i = 1; i <= 20; i++) {
      observe(await w.connect().connected);
      await until(w, () => w.gateway.get(i).source !== undefined, 'the connection');
      sources.add(w.gateway.get(i).source!.address);
    }
    assert.ok(sources.size >= 10, [...sources].join());
    assert.ok([...sources].every((address) => address.startsWith(NAT.slice(0, 8))));
  });

  it('does in a data centre what is asked: TCP out, no mapping', async () => {
    const w = await world({ unmapped: true, intercept: { role: 'data-centre', nat: [] } });
    w.listen(serve(1000));
    const seen = observe(await w.connect().connected);
    await until(w, () => seen.ended, 'the download');
    assert.deepEqual(w.mappings.asked, []);
    assert.equal(w.gateway.get(1).source!.address, '10.10.0.2');
    assert.equal(w.plane.syns.length, 0);
  });

  describe('for the operator', () => {
    const established = async (w: World) => {
      const service = serve(0);
      w.listen(service);
      const client = await w.connect().connected;
      const seen = observe(client);
      client.write(Buffer.from('x'));
      await until(w, () => subflowPaths(w).length === 2, 'two subflows');
      return { client, seen };
    };

    it('removes a subflow for good, and adds one', async () => {
      const w = await world();
      await established(w);
      await w.gateway.removeSubflow(1, 1);
      await w.clock.advance(120_000);
      assert.deepEqual(subflowPaths(w), [pathKey(PATH[0]!)]);
      await w.gateway.addSubflow(1, { remote: SITE1[1] });
      await until(w, () => subflowPaths(w).length === 2, 'two subflows');
      await assert.rejects(w.gateway.addSubflow(1, { remote: SITE1[1] }), /is on that path already/);
      await assert.rejects(
        w.gateway.addSubflow(1, { remote: '1.2.3.4' }),
        /1\.2\.3\.4 is no RLOC of 198\.18\.1\.0\/24/,
      );
      await assert.rejects(
        w.gateway.addSubflow(1, { local: '1.2.3.4', remote: SITE1[1] }),
        /1\.2\.3\.4 is no RLOC/,
      );
      await assert.rejects(w.gateway.addSubflow(7, { remote: SITE1[1] }), /there is no connection 7/);
    });

    it('does not remove the only subflow', async () => {
      const w = await world();
      await established(w);
      await w.gateway.removeSubflow(1, 0);
      await assert.rejects(w.gateway.removeSubflow(1, 1), /the only one; to end the connection, kill it/);
      await assert.rejects(w.gateway.removeSubflow(1, 9), /connection 1 has no subflow 9/);
    });

    it('kills a connection', async () => {
      const w = await world();
      const { seen } = await established(w);
      w.gateway.kill(1);
      await until(w, () => w.records.length === 1, 'the end');
      assert.equal(seen.code, 'ECONNRESET');
      assert.equal(w.records[0]!.reason, 'killed');
    });
  });
});
