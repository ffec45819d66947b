// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeMessage } from '../../../src/lisp/codec/messages.js';
import { inInstance, ipAddress } from '../../../src/lisp/codec/address.js';
import type { ControlPlane } from '../../../src/lisp/control-plane.js';
import type { XtrOptions } from '../../../src/lisp/local-site.js';
import type { MappingChange, PathChange } from '../../../src/lisp/mapping-system.js';
import { MAP_SERVER, MemoryStore, Network, siteOptions, xtrOptions } from './simulation.js';

/** Gateway site G, two cloud sites A and B that may both hold 198.18.1.0/24, and the map-server. */
const GATEWAY = {
  rlocs: ['203.0.113.2', '203.0.114.2'],
  eid: '192.0.2.0/28',
  site: siteOptions('gateway', '192.0.2.0/28'),
};
const SITE_A = {
  rlocs: ['203.0.123.2', '203.0.124.2'],
  eid: '198.18.1.0/24',
  site: siteOptions('site-a', '198.18.0.0/16'),
};
const SITE_B = {
  rlocs: ['203.0.133.2', '203.0.134.2'],
  eid: '198.18.1.0/24',
  site: siteOptions('site-b', '198.18.0.0/16'),
};
const SERVER = '198.18.1.10';

const mapServerOptions = { addresses: [MAP_SERVER], sites: [GATEWAY.site, SITE_A.site, SITE_B.site] };

function world(
  more: { seed?: number; loss?: number; a?: Partial<XtrOptions>; g?: Partial<XtrOptions> } = {},
) {
  const network = new Network(more.seed ?? 1);
  network.loss = more.loss ?? 0;
  const ms = network.host('ms', [MAP_SERVER], { mapServer: mapServerOptions });
  const g = network.host('g', GATEWAY.rlocs, {
    xtr: xtrOptions(GATEWAY.site, GATEWAY.rlocs, [GATEWAY.eid], more.g),
  });
  const a = network.host('a', SITE_A.rlocs, {
    xtr: xtrOptions(SITE_A.site, SITE_A.rlocs, [SITE_A.eid], more.a),
  });
  const siteB = (eids: string[]) =>
    network.host('b', SITE_B.rlocs, { xtr: xtrOptions(SITE_B.site, SITE_B.rlocs, eids) });
  return { network, ms, g, a, siteB };
}

const rlocsOf = (plane: ControlPlane, eid: string): string[] | undefined =>
  plane.xtr!.lookup(eid)?.locators.map(({ rloc }) => rloc);

/** Runs the clock until the condition holds; fails after `limitMs` of virtual time. */
async function until(network: Network, condition: () => boolean, limitMs = 60_000): Promise<number> {
  const start = network.clock.now();
  while (!condition()) {
    if (network.clock.now() - start > limitMs) assert.fail(`not within ${limitMs} ms`);
    await network.clock.advance(10);
  }
  return network.clock.now() - start;
}

const registered = (plane: ControlPlane) =>
  plane.xtr!.registrations().every(({ state }) => state === 'registered');

describe('registration', () => {
  it('is acknowledged, shown at the map-server and repeated', async () => {
    const { network, ms, a, g } = world();
    await until(network, () => registered(a) && registered(g), 100);
    const [first] = ms.mapServer!.registrations().filter(({ site }) => site === 'site-a');
    assert.equal(first?.eid, SITE_A.eid);
    assert.deepEqual(
      first?.locators.map(({ rloc }) => rloc),
      SITE_A.rlocs,
    );
    assert.equal(first?.xtrId, a.xtr!.xtrId);
    await network.clock.advance(10 * 60_000);
    assert.equal(ms.mapServer!.registrations().length, 2);
    assert.deepEqual(ms.mapServer!.rejected(), []);
  });

  it('is withdrawn on stop', async () => {
    const { network, ms, a, g } = world();
    await until(network, () => registered(a) && registered(g));
    a.stop();
    await network.clock.advance(50);
    assert.deepEqual(
      ms.mapServer!.registrations().map(({ eid }) => eid),
      [GATEWAY.eid],
    );
  });

  it('expires three minutes after an xTR was last heard of', async () => {
    const { network, ms, a } = world();
    await until(network, () => registered(a));
    network.kill(a);
    await network.clock.advance(170_000);
    assert.equal(ms.mapServer!.registrations().length, 2);
    await network.clock.advance(20_000);
    assert.equal(ms.mapServer!.registrations().length, 1);
  });

  it('uses another RLOC when the map-server is not heard through the first', async () => {
    const { network, a } = world();
    network.blocked = (from, to) => from === SITE_A.rlocs[0] || to === SITE_A.rlocs[0];
    await until(network, () => registered(a), 2000);
  });

  it('with a wrong key is refused, and both sides say so', async () => {
    const wrong = { ...SITE_A.site, key: 'wrong' };
    const { network, ms, a } = world({ a: { mapServers: xtrOptions(wrong, [], []).mapServers } });
    await until(network, () => a.xtr!.registrations()[0]!.state === 'silent');
    assert.match(a.xtr!.registrations()[0]!.detail, /unanswered.*key-id 1/);
    assert.match(ms.mapServer!.rejected()[0]!.why, /authentication data is wrong/);
    assert.equal(ms.mapServer!.rejected()[0]!.source, SITE_A.rlocs[0]);
    assert.ok(network.log.some(({ event, host }) => event === 'map-server-silent' && host === 'a'));
    assert.ok(network.log.some(({ event, host }) => event === 'map-register-rejected' && host === 'ms'));
  });

  it('of an EID that is not the site’s is refused', async () => {
    const { network, ms, a } = world({
      a: { database: xtrOptions(SITE_A.site, SITE_A.rlocs, ['203.0.113.0/24']).database },
    });
    await until(network, () => a.xtr!.registrations()[0]!.state === 'silent');
    assert.match(ms.mapServer!.rejected()[0]!.why, /no site is configured for this EID/);
  });

  it('replayed is refused', async () => {
    const { network, ms, a } = world();
    await until(network, () => registered(a));
    const [register] = network.sent(
      ({ message, from }) => message.type === 'map-register' && from === SITE_A.rlocs[0],
    );
    network.inject(MAP_SERVER, {
      local: MAP_SERVER,
      remote: { address: SITE_A.rlocs[0]!, port: 4342 },
      data: register!.data,
    });
    assert.match(ms.mapServer!.rejected()[0]!.why, /nonce is not greater/);
    assert.equal(ms.environment.counters.get('drop.map-register-replayed'), 1);
  });

  it('goes on with greater nonces after a restart, with and without its state', async () => {
    const { network, ms, a } = world();
    const store = new MemoryStore();
    await until(network, () => registered(a));
    network.kill(a);
    const options = { xtr: xtrOptions(SITE_A.site, SITE_A.rlocs, [SITE_A.eid]) };
    const second = network.host('a2', SITE_A.rlocs, options, store);
    await until(network, () => registered(second), 1000);
    assert.equal(store.saves, 1);
    network.kill(second);
    const third = network.host('a3', SITE_A.rlocs, options, new MemoryStore(store.state));
    await until(network, () => registered(third), 1000);
    assert.equal(third.xtr!.xtrId, second.xtr!.xtrId);
    assert.deepEqual(ms.mapServer!.rejected(), []);
  });

  it('survives a restart of the map-server', async () => {
    const { network, ms, a, g } = world();
    await until(network, () => registered(a) && registered(g));
    network.kill(ms);
    await network.clock.advance(90_000);
    assert.equal(a.xtr!.registrations()[0]!.state, 'silent');
    const again = network.host('ms', [MAP_SERVER], { mapServer: mapServerOptions });
    await until(network, () => registered(a) && registered(g), 70_000);
    assert.equal(again.mapServer!.registrations().length, 2);
  });
});

describe('resolution', () => {
  it('asks the ETR through the map-server', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    const changes: MappingChange[] = [];
    g.xtr!.onChange((change) => changes.push(change));
    const answer = g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    const resolution = await answer;
    assert.equal(resolution.status, 'found');
    assert.deepEqual(rlocsOf(g, SERVER), SITE_A.rlocs);
    assert.equal(g.xtr!.lookup(SERVER)?.eid, SITE_A.eid);
    assert.equal(g.xtr!.lookup(SERVER)?.ttlSeconds, 900);
    assert.deepEqual(
      changes.map(({ type }) => type),
      ['set'],
    );
    assert.equal(
      network.sent(({ message }) => message.type === 'map-reply' && !message.probe)[0]!.from,
      SITE_A.rlocs[0],
    );
  });

  it('is answered by the map-server as proxy', async () => {
    const proxied = xtrOptions(SITE_A.site, [], []).mapServers.map((server) => ({
      ...server,
      proxyReply: true,
    }));
    const { network, g, a } = world({ a: { mapServers: proxied } });
    await until(network, () => registered(a));
    const answer = g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    assert.equal((await answer).status, 'found');
    assert.equal(
      network.sent(({ message }) => message.type === 'map-reply' && !message.probe)[0]!.from,
      MAP_SERVER,
    );
  });

  it('is one request for many askers', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    const since = network.clock.now();
    const answers = Array.from({ length: 50 }, () => g.xtr!.resolve(SERVER));
    await network.clock.advance(100);
    for (const answer of answers) assert.equal((await answer).status, 'found');
    assert.equal(
      network.sent(
        ({ message, from }) =>
          message.type === 'map-request' && !message.probe && GATEWAY.rlocs.includes(from),
        since,
      ).length,
      1,
    );
  });

  it('of an unknown EID is negative for the hole around it, for 15 minutes', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    const answer = g.xtr!.resolve('198.20.0.1');
    await network.clock.advance(100);
    const resolution = await answer;
    assert.equal(resolution.status, 'negative');
    if (resolution.status !== 'negative') return;
    // 198.18.0.0/16 is configured: 198.20.0.0/14 is the shortest prefix without it.
    assert.equal(resolution.mapping.eid, '198.20.0.0/14');
    assert.equal(resolution.mapping.action, 'natively-forward');
    assert.equal(resolution.mapping.ttlSeconds, 900);
  });

  it('of an EID that is configured but not registered is negative for a minute', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    const answer = g.xtr!.resolve('198.18.2.1');
    await network.clock.advance(100);
    const resolution = await answer;
    assert.equal(resolution.status, 'negative');
    if (resolution.status !== 'negative') return;
    assert.equal(resolution.mapping.eid, '198.18.2.0/23');
    assert.equal(resolution.mapping.ttlSeconds, 60);
    await network.clock.advance(61_000);
    assert.equal(g.xtr!.lookup('198.18.2.1'), undefined);
  });

  it('without anybody there says so, and is not asked again at once', async () => {
    const { network, ms, g } = world();
    network.kill(ms);
    const answer = g.xtr!.resolve(SERVER);
    await network.clock.advance(10_000);
    const resolution = await answer;
    assert.equal(resolution.status, 'unreachable');
    const asked = () =>
      network.sent(
        ({ message, from }) =>
          message.type === 'map-request' && !message.probe && GATEWAY.rlocs.includes(from),
      );
    assert.equal(asked().length, 5);
    // Both local RLOCs were tried.
    assert.deepEqual([...new Set(asked().map(({ from }) => from))].sort(), GATEWAY.rlocs);
    const again = g.xtr!.resolve(SERVER);
    await network.clock.advance(10_000);
    assert.equal((await again).status === 'unreachable', true);
  });

  it('reaches an ETR at its other RLOC when the first is cut', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    network.blocked = (from, to) => from === SITE_A.rlocs[0] || to === SITE_A.rlocs[0];
    const answer = g.xtr!.resolve(SERVER);
    const took = await until(network, () => g.xtr!.lookup(SERVER) !== undefined, 5000);
    assert.equal((await answer).status, 'found');
    assert.ok(took < 1500, `${took} ms`);
  });

  it('of an own EID asks nobody', async () => {
    const { network, g } = world();
    const since = network.clock.now();
    const answer = await g.xtr!.resolve('192.0.2.3');
    assert.equal(answer.status, 'negative');
    assert.equal(network.sent(({ message }) => message.type === 'map-request', since).length, 0);
  });

  it('takes no Map-Reply that was not asked for, and none about something else', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    const forged = (nonce: bigint, eid: string, length: number) =>
      encodeMessage({
        type: 'map-reply',
        probe: false,
        echoNonce: false,
        nonce,
        records: [
          {
            ttlMinutes: 1440,
            maskLength: length,
            action: 0,
            authoritative: true,
            mapVersion: 0,
            eid: inInstance(0, ipAddress(eid)),
            locators: [
              {
                priority: 1,
                weight: 100,
                multicastPriority: 255,
                multicastWeight: 0,
                local: true,
                probed: false,
                reachable: true,
                address: ipAddress('203.0.113.66'),
              },
            ],
          },
        ],
      });
    const inject = (data: Uint8Array) =>
      network.inject(GATEWAY.rlocs[0]!, {
        local: GATEWAY.rlocs[0]!,
        remote: { address: '203.0.113.66', port: 4342 },
        data,
      });
    inject(forged(1n, '198.18.1.0', 24));
    assert.equal(g.environment.counters.get('drop.map-reply-unsolicited'), 1);
    const answer = g.xtr!.resolve(SERVER);
    const asked = network
      .sent(
        ({ message, from }) => message.type === 'map-request' && !message.probe && from === GATEWAY.rlocs[0],
      )
      .at(-1)!.message;
    assert.ok(asked.type === 'map-request');
    for (let guess = 0n; guess < 200n; guess++) inject(forged(guess, '198.18.1.0', 24));
    inject(forged(asked.nonce, '8.8.8.0', 24));
    assert.equal(g.environment.counters.get('drop.map-reply-useless'), 1);
    await network.clock.advance(100);
    assert.equal((await answer).status, 'found');
    assert.deepEqual(rlocsOf(g, SERVER), SITE_A.rlocs);
    // And the nonce is good for one answer only.
    inject(forged(asked.nonce, '198.18.1.0', 24));
    assert.deepEqual(rlocsOf(g, SERVER), SITE_A.rlocs);
  });

  it('refreshes a mapping in use, and lets one that is not expire', async () => {
    const { network, g, a } = world({
      a: {
        database: [{ ...xtrOptions(SITE_A.site, SITE_A.rlocs, [SITE_A.eid]).database[0]!, ttlSeconds: 60 }],
      },
    });
    await until(network, () => registered(a));
    void g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    const changes: MappingChange[] = [];
    g.xtr!.onChange((change) => changes.push(change));
    for (let second = 0; second < 150; second++) {
      assert.ok(g.xtr!.lookup(SERVER), `gone after ${second} s`);
      await network.clock.advance(1000);
    }
    assert.equal(changes.length, 0);
    await network.clock.advance(130_000);
    assert.equal(g.xtr!.lookup(SERVER), undefined);
    assert.deepEqual(
      changes.map((change) => (change.type === 'removed' ? change.reason : change.type)),
      ['expired'],
    );
  });
});

describe('IPv6 and instances', () => {
  /** EIDs and RLOCs of these families, and the EIDs in this instance. */
  async function between(
    eids: [string, string],
    rlocs: [string[], string[]],
    mapServer: string,
    iid: number,
  ) {
    const network = new Network(11);
    const site = (name: string, eid: string) => ({
      ...siteOptions(name),
      eids: [{ prefix: eid, iid, acceptMoreSpecifics: true }],
    });
    const sites = [site('one', eids[0]), site('two', eids[1])];
    network.host('ms', [mapServer], { mapServer: { addresses: [mapServer], sites } });
    const planes = sites.map((each, index) => {
      const options = xtrOptions(each, rlocs[index]!, [eids[index]!], { iid, mapResolvers: [mapServer] });
      options.database = options.database.map((entry) => ({ ...entry, iid }));
      options.mapServers = options.mapServers.map((server) => ({ ...server, address: mapServer }));
      return network.host(each.name, rlocs[index]!, { xtr: options });
    });
    await until(network, () => planes.every(registered), 1000);
    return { network, one: planes[0]!, two: planes[1]! };
  }
  const v4: [string[], string[]] = [['203.0.113.2'], ['203.0.123.2', '203.0.124.2']];
  const v6: [string[], string[]] = [['2001:db8:f:1::2'], ['2001:db8:f:2::2', '2001:db8:f:3::2']];

  for (const [name, eids, rlocs, mapServer, iid] of [
    ['IPv6 in IPv6', ['2001:db8:1::/48', '2001:db8:2::/48'], v6, '2001:db8:a::10', 0],
    ['IPv6 in IPv4', ['2001:db8:1::/48', '2001:db8:2::/48'], v4, MAP_SERVER, 0],
    ['IPv4 in IPv6', ['192.0.2.0/28', '198.18.1.0/24'], v6, '2001:db8:a::10', 0],
    ['IPv6 in IPv6, in an instance', ['2001:db8:1::/48', '2001:db8:2::/48'], v6, '2001:db8:a::10', 4711],
    ['IPv4 in IPv4, in an instance', ['192.0.2.0/28', '198.18.1.0/24'], v4, MAP_SERVER, 0xffffff],
  ] as [string, [string, string], [string[], string[]], string, number][]) {
    it(`${name}: registers, resolves, probes and follows a change`, async () => {
      const { network, one, two } = await between(eids, rlocs, mapServer, iid);
      const server = `${eids[1].split('/')[0]!.replace(/0$/, '')}9`;
      const answer = one.xtr!.resolve(server);
      await network.clock.advance(100);
      assert.equal((await answer).status, 'found');
      assert.deepEqual(rlocsOf(one, server), rlocs[1]);
      assert.equal(one.xtr!.lookup(server)?.iid, iid);
      if (iid !== 0) assert.equal(one.xtr!.lookup(server, 0), undefined);
      await until(
        network,
        () => one.xtr!.paths().length === 2 && one.xtr!.paths().every(({ state }) => state === 'up'),
        2000,
      );
      two.xtr!.setLocalRlocState(rlocs[1][1]!, false);
      await until(
        network,
        () => one.xtr!.lookup(server)?.locators.find(({ rloc }) => rloc === rlocs[1][1])?.reachable === false,
        1000,
      );
    });
  }
});

describe('a server that moves', () => {
  for (const loss of [0, 0.2]) {
    it(`to another site: the gateway follows (loss ${loss})`, async () => {
      const { network, g, a, siteB } = world({ seed: 7 + loss * 10 });
      await until(network, () => registered(a) && registered(g));
      void g.xtr!.resolve(SERVER);
      void a.xtr!.resolve('192.0.2.1');
      await until(network, () => rlocsOf(g, SERVER) !== undefined && rlocsOf(a, '192.0.2.1') !== undefined);
      network.loss = loss;
      const b = siteB([SITE_B.eid]);
      const took = await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_B.rlocs[0], 30_000);
      if (loss === 0) assert.ok(took < 200, `${took} ms`);
      assert.deepEqual(rlocsOf(g, SERVER), SITE_B.rlocs);
      // The former site knows, says so, and does not register any more.
      await until(network, () => registered(b));
      assert.ok(network.log.some(({ event, host }) => event === 'eid-moved-away' && host === 'a'));
      await network.clock.advance(3 * 60_000);
      assert.deepEqual(rlocsOf(a, SERVER), SITE_B.rlocs);
      assert.deepEqual(rlocsOf(g, SERVER), SITE_B.rlocs);
    });
  }

  it('alone, out of its prefix', async () => {
    const { network, g, a, siteB } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    void g.xtr!.resolve('198.18.1.11');
    void a.xtr!.resolve('192.0.2.1');
    await network.clock.advance(100);
    siteB([`${SERVER}/32`]);
    await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_B.rlocs[0], 1000);
    assert.deepEqual(rlocsOf(g, '198.18.1.11'), SITE_A.rlocs);
    assert.deepEqual(rlocsOf(a, SERVER), SITE_B.rlocs);
  });

  it('by configuration: withdrawn here, registered there', async () => {
    const { network, g, a, siteB } = world();
    const b = siteB([]);
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    void a.xtr!.resolve('192.0.2.1');
    await network.clock.advance(100);
    b.update({ xtr: xtrOptions(SITE_B.site, SITE_B.rlocs, [SITE_B.eid]) });
    a.update({ xtr: xtrOptions(SITE_A.site, SITE_A.rlocs, []) });
    await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_B.rlocs[0], 1000);
    // And back, in the other order: for a moment nobody has it.
    const gone: string[] = [];
    g.xtr!.onChange((change) => {
      if (change.type === 'removed' || change.mapping.locators.length === 0) gone.push(change.mapping.eid);
    });
    b.update({ xtr: xtrOptions(SITE_B.site, SITE_B.rlocs, []) });
    await network.clock.advance(1500);
    a.update({ xtr: xtrOptions(SITE_A.site, SITE_A.rlocs, [SITE_A.eid]) });
    void b.xtr!.resolve('192.0.2.1');
    await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_A.rlocs[0], 1000);
    assert.deepEqual(gone, []);
  });

  it('out of service: after a few seconds it is believed', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    a.update({ xtr: xtrOptions(SITE_A.site, SITE_A.rlocs, []) });
    const took = await until(network, () => g.xtr!.lookup(SERVER)?.locators.length === 0, 10_000);
    assert.ok(took > 2000, `${took} ms`);
    assert.equal(g.xtr!.lookup(SERVER)?.action, 'natively-forward');
  });

  it('from a site that died without a word', async () => {
    const { network, g, a, siteB } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    network.kill(a);
    siteB([SITE_B.eid]);
    await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_B.rlocs[0], 500);
  });

  it('into service after it was first asked for', async () => {
    const { network, g, siteB } = world({ a: { database: [] } });
    await until(network, () => registered(g));
    const answer = g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    assert.equal((await answer).status, 'negative');
    siteB([SITE_B.eid]);
    await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_B.rlocs[0], 500);
  });

  it('while its traffic still arrives at the former site', async () => {
    const { network, g, a, siteB } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    // Nobody tells the former site, and it knows no peers.
    network.blocked = (_from, to) => SITE_A.rlocs.includes(to);
    siteB([SITE_B.eid]);
    a.update({ xtr: xtrOptions(SITE_A.site, SITE_A.rlocs, []) });
    await network.clock.advance(10_000);
    network.blocked = () => false;
    g.environment.counters.add('marker');
    a.xtr!.stray({ iid: 0, destination: SERVER, source: '192.0.2.1', rloc: GATEWAY.rlocs[0]! });
    a.xtr!.stray({ iid: 0, destination: '8.8.8.8', source: '192.0.2.1', rloc: '203.0.113.99' });
    await until(network, () => rlocsOf(g, SERVER)?.[0] === SITE_B.rlocs[0], 1000);
    assert.equal(network.sent(({ to }) => to === '203.0.113.99').length, 0);
  });
});

describe('an SMR', () => {
  const smr = (source: string, nonce = 5n) =>
    encodeMessage({
      type: 'map-request',
      authoritative: false,
      probe: false,
      smr: true,
      pitr: false,
      smrInvoked: false,
      localXtr: false,
      dontMapReply: false,
      nonce,
      sourceEid: ipAddress(source),
      itrRlocs: [ipAddress('203.0.113.66')],
      records: [{ maskLength: 32, eid: ipAddress('192.0.2.1') }],
    });

  it('of a stranger does nothing but make us ask the mapping system, and not often', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    const since = network.clock.now();
    const inject = (data: Uint8Array) =>
      network.inject(GATEWAY.rlocs[0]!, {
        local: GATEWAY.rlocs[0]!,
        remote: { address: '203.0.113.66', port: 4342 },
        data,
      });
    for (let index = 0; index < 100; index++) inject(smr(SERVER));
    inject(smr('8.8.8.8'));
    await network.clock.advance(2000);
    const asked = network.sent(
      ({ message, from }) =>
        message.type === 'map-request' && message.smrInvoked && GATEWAY.rlocs.includes(from),
      since,
    );
    assert.equal(asked.length, 2);
    assert.ok(asked.every(({ to, encapsulated }) => to === MAP_SERVER && encapsulated));
    assert.equal(g.environment.counters.get('drop.smr-not-cached'), 1);
    assert.deepEqual(rlocsOf(g, SERVER), SITE_A.rlocs);
    assert.equal(network.sent(({ to }) => to === '203.0.113.66', since).length, 0);
  });

  it('is sent to who still sends here what has gone, once a second, and not for what never was here', async () => {
    const { network, a } = world();
    await until(network, () => registered(a));
    a.xtr!.update(xtrOptions(SITE_A.site, SITE_A.rlocs, []));
    await network.clock.advance(5000);
    const since = network.clock.now();
    const stray = (destination: string): void =>
      a.xtr!.stray({ iid: 0, destination, source: '192.0.2.1', rloc: GATEWAY.rlocs[1]! });
    for (let index = 0; index < 20; index++) {
      stray(SERVER);
      stray('8.8.8.8');
      await network.clock.advance(100);
    }
    const smrs = network.sent(({ message }) => message.type === 'map-request' && message.smr, since);
    assert.ok(smrs.length >= 1 && smrs.length <= 3, `${smrs.length} SMRs`);
    assert.ok(smrs.every(({ to }) => to === GATEWAY.rlocs[1]));
    for (const { message } of smrs) {
      assert.ok(message.type === 'map-request');
      assert.deepEqual(message.sourceEid, ipAddress(SERVER));
    }
  });

  it('is sent when a local RLOC goes down', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    void a.xtr!.resolve('192.0.2.1');
    await network.clock.advance(100);
    a.xtr!.setLocalRlocState(SITE_A.rlocs[0]!, false);
    await until(
      network,
      () => g.xtr!.lookup(SERVER)?.locators.find(({ rloc }) => rloc === SITE_A.rlocs[0])?.reachable === false,
      1000,
    );
  });
});

describe('RLOC-probing', () => {
  async function talking() {
    const { network, g, a } = world();
    await until(network, () => registered(a) && registered(g));
    void g.xtr!.resolve(SERVER);
    await until(
      network,
      () => g.xtr!.paths().length === 4 && g.xtr!.paths().every(({ state }) => state === 'up'),
      3000,
    );
    const changes: PathChange[] = [];
    g.xtr!.onPathChange((change) => changes.push(change));
    return { network, g, a, changes };
  }

  it('asked for, probes the paths of a mapping that has only just come', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    let probed: { state: string }[] | undefined;
    void g.xtr!.resolve(SERVER).then(async () => {
      probed = await g.xtr!.probe(SITE_A.rlocs[0]);
    });
    await until(network, () => probed !== undefined, 5000);
    assert.deepEqual(
      probed!.map(({ state }) => state),
      ['up', 'up'],
    );
  });

  it('finds every path up, with its round-trip time', async () => {
    const { g } = await talking();
    for (const { rttMs } of g.xtr!.paths()) assert.equal(rttMs, 10);
  });

  it('finds a cut path within the configured time, a live one within a second', async () => {
    for (const live of [false, true]) {
      const { network, g, changes } = await talking();
      const path = { local: GATEWAY.rlocs[0]!, remote: SITE_A.rlocs[0]! };
      if (live) g.xtr!.setLivePaths([path]);
      await network.clock.advance(1500);
      network.blocked = (from, to) =>
        (from === path.local && to === path.remote) || (from === path.remote && to === path.local);
      const took = await until(network, () => g.xtr!.path(path).state === 'down', 4000);
      assert.ok(took <= (live ? 800 : 2300), `${live ? 'live' : 'idle'}: ${took} ms`);
      assert.equal(changes.length, 1);
      assert.equal(g.xtr!.paths().filter(({ state }) => state === 'up').length, 3);
      network.blocked = () => false;
      const back = await until(network, () => g.xtr!.path(path).state === 'up', 4000);
      assert.ok(back <= (live ? 300 : 1100), `${back} ms`);
    }
  });

  it('is quick about a suspected path', async () => {
    const { network, g } = await talking();
    const path = { local: GATEWAY.rlocs[0]!, remote: SITE_A.rlocs[0]! };
    network.blocked = (from) => from === path.remote;
    g.xtr!.suspectPath(path);
    const took = await until(network, () => g.xtr!.path(path).state === 'down', 4000);
    assert.ok(took <= 700, `${took} ms`);
  });

  it('does not take a busy path for a dead one', async () => {
    const { network, g } = await talking();
    const path = { local: GATEWAY.rlocs[0]!, remote: SITE_A.rlocs[0]! };
    g.xtr!.setLivePaths([path]);
    network.blocked = (from) => from === path.local;
    for (let tick = 0; tick < 100; tick++) {
      g.xtr!.notePathReceived(path);
      await network.clock.advance(10);
    }
    assert.equal(g.xtr!.path(path).state, 'up');
    // But not for ever.
    for (let tick = 0; tick < 400; tick++) {
      g.xtr!.notePathReceived(path);
      await network.clock.advance(10);
    }
    assert.equal(g.xtr!.path(path).state, 'down');
  });

  it('does not believe an answer from elsewhere', async () => {
    const { network, g } = await talking();
    const path = { local: GATEWAY.rlocs[0]!, remote: SITE_A.rlocs[0]! };
    network.blocked = (from, to) => to === path.remote || from === path.remote;
    await until(network, () => g.xtr!.path(path).state === 'down', 4000);
    await network.clock.advance(2000);
    const probe = network
      .sent(({ message, to }) => message.type === 'map-request' && message.probe && to === path.remote)
      .at(-1)!;
    assert.ok(probe.message.type === 'map-request');
    const data = encodeMessage({
      type: 'map-reply',
      probe: true,
      echoNonce: false,
      nonce: probe.message.nonce,
      records: [],
    });
    network.inject(path.local, { local: path.local, remote: { address: '203.0.113.66', port: 4342 }, data });
    assert.equal(g.xtr!.path(path).state, 'down');
    assert.equal(g.environment.counters.get('drop.probe-reply-from-elsewhere'), 1);
  });

  it('ends with the mapping, and a path that was down is no longer said to be', async () => {
    const { network, g, changes } = await talking();
    network.blocked = (from, to) => to === SITE_A.rlocs[0] || from === SITE_A.rlocs[0];
    await until(network, () => g.xtr!.paths().filter(({ state }) => state === 'down').length === 2, 4000);
    g.xtr!.flush();
    await network.clock.advance(10);
    assert.deepEqual(g.xtr!.paths(), []);
    assert.deepEqual(
      changes.slice(-2).map(({ status }) => status.state),
      ['unknown', 'unknown'],
    );
  });
});

describe('configured mappings', () => {
  it('outrank learnt ones, also those of longer prefixes, and give way when deleted', async () => {
    const { network, g, a } = world();
    await until(network, () => registered(a));
    void g.xtr!.resolve(SERVER);
    await network.clock.advance(100);
    const locators = [{ rloc: '203.0.200.1', priority: 1, weight: 1 }];
    g.xtr!.set({ eid: '198.18.0.0/16', iid: 0, locators }, 'static');
    assert.deepEqual(rlocsOf(g, SERVER), ['203.0.200.1']);
    g.xtr!.set(
      { eid: '198.18.0.0/16', iid: 0, locators: [{ rloc: '203.0.200.2', priority: 1, weight: 1 }] },
      'cli',
    );
    assert.deepEqual(rlocsOf(g, SERVER), ['203.0.200.2']);
    assert.equal(g.xtr!.flush(), 0);
    assert.equal(g.xtr!.delete('198.18.0.0/16', 0, 'cli'), true);
    assert.deepEqual(rlocsOf(g, SERVER), ['203.0.200.1']);
    assert.equal(g.xtr!.delete('198.18.0.0/16', 0, 'static'), true);
    assert.equal(g.xtr!.lookup(SERVER), undefined);
  });

  it('are refused when they make no sense', () => {
    const { g } = world();
    const set = (eid: string, rloc: string, priority = 1) =>
      g.xtr!.set({ eid, iid: 0, locators: [{ rloc, priority, weight: 1 }] }, 'cli');
    assert.throws(() => set('198.18.0.1/16', '203.0.113.9'), /did you mean 198.18.0.0\/16/);
    assert.throws(() => set('198.18.0.0/16', '224.0.0.1'), /multicast/);
    assert.throws(() => set('198.18.0.0/16', '203.0.113.9', 256), /priority 256/);
    assert.deepEqual(g.xtr!.list(), []);
  });
});

describe('loss', () => {
  it('of a tenth of all datagrams delays, no more', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { network, g, a } = world({ seed, loss: 0.1 });
      await until(network, () => registered(a) && registered(g), 60_000);
      const answer = g.xtr!.resolve(SERVER);
      await network.clock.advance(10_000);
      assert.equal((await answer).status, 'found', `seed ${seed}`);
    }
  });
});

describe('an end', () => {
  it('leaves no timer behind', async () => {
    const { network, g, a, ms } = world();
    await until(network, () => registered(a));
    void g.xtr!.resolve(SERVER);
    void g.xtr!.resolve('198.18.77.1');
    await network.clock.advance(3);
    for (const plane of [g, a, ms]) plane.stop();
    await network.clock.advance(100);
    assert.equal(network.clock.pending, 0);
  });
});
