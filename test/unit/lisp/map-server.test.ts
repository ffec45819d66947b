// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ipAddress } from '../../../src/lisp/codec/address.js';
import {
  ALGORITHMS,
  blankAuthentication,
  sign,
  verify,
  type AlgorithmName,
} from '../../../src/lisp/codec/authentication.js';
import { encapsulate } from '../../../src/lisp/codec/ecm.js';
import {
  decodeMessage,
  encodeMessage,
  type MapRegister,
  type MapReply,
  type MapRequest,
} from '../../../src/lisp/codec/messages.js';
import { ControlPlane } from '../../../src/lisp/control-plane.js';
import { Counters, type ControlDatagram } from '../../../src/lisp/environment.js';
import type { SiteOptions } from '../../../src/lisp/map-server.js';
import {
  addressFamily,
  parsePrefix,
  prefixContains,
  prefixFromBytes,
  prefixesOverlap,
} from '../../../src/lisp/prefix.js';
import { eidOf, toEidRecord, toLocatorRecord, toMappingRecord } from '../../../src/lisp/records.js';
import { controlVectors, octets } from './codec/vectors.js';
import { MAP_SERVER, VirtualClock, siteOptions } from './simulation.js';

const MAP_SERVER_6 = '2001:db8:a::10';

/** A map-server alone, and what it sends. */
function mapServer(sites: SiteOptions[]) {
  const clock = new VirtualClock();
  const sent: ControlDatagram[] = [];
  const plane = new ControlPlane(
    {
      clock,
      random: (length) => new Uint8Array(length).fill(7),
      wallClock: () => 1_700_000_000_000 + clock.now(),
      send: (datagram) => sent.push(datagram),
      log: () => undefined,
      counters: new Counters(),
    },
    { mapServer: { addresses: [MAP_SERVER, MAP_SERVER_6], sites } },
    { load: () => undefined, save: () => undefined },
  );
  plane.start();
  let nonce = 1n;
  const receive = (data: Uint8Array, from = '203.0.113.2') =>
    plane.receive({
      local: addressFamily(from) === 4 ? MAP_SERVER : MAP_SERVER_6,
      remote: { address: from, port: 4342 },
      data,
    });
  const registerMessage = (
    site: SiteOptions,
    eids: string[],
    rlocs: string[],
    more: Partial<MapRegister> = {},
  ): Uint8Array =>
    sign(
      encodeMessage({
        type: 'map-register',
        proxyReply: true,
        security: false,
        useTtl: false,
        merge: false,
        wantMapNotify: true,
        nonce: nonce++,
        authentication: blankAuthentication(site),
        records: eids.map((eid) =>
          toMappingRecord(
            { iid: 0, prefix: parsePrefix(eid) },
            {
              ttlSeconds: 900,
              authoritative: true,
              locators: rlocs.map((rloc) =>
                toLocatorRecord({ rloc, priority: 1, weight: 1, reachable: true, local: true }),
              ),
            },
          ),
        ),
        ...more,
      }),
      site,
    );
  const register = (site: SiteOptions, eids: string[], rlocs: string[], more: Partial<MapRegister> = {}) =>
    receive(registerMessage(site, eids, rlocs, more), rlocs[0]);
  /** Asks as an ITR would and returns the Map-Reply. */
  const ask = (eid: string, itrRloc = '203.0.113.99'): MapReply | undefined => {
    const prefix = parsePrefix(eid);
    const request: MapRequest = {
      type: 'map-request',
      authoritative: false,
      probe: false,
      smr: false,
      pitr: false,
      smrInvoked: false,
      localXtr: false,
      dontMapReply: false,
      nonce: 99n,
      sourceEid: { kind: 'none' },
      itrRlocs: [ipAddress(itrRloc)],
      records: [toEidRecord({ iid: 0, prefix })],
    };
    const address = eid.split('/')[0]!;
    sent.length = 0;
    receive(encodeMessage(encapsulate(request, address, address)), itrRloc);
    const [reply] = sent.map(({ data }) => decodeMessage(data));
    return reply?.type === 'map-reply' ? reply : undefined;
  };
  return { plane, server: plane.mapServer!, clock, sent, receive, register, registerMessage, ask };
}

const eidsOf = (reply: MapReply | undefined): string[] =>
  (reply?.records ?? []).map((record) => eidOf(record)!.prefix.text);

describe('map-server', () => {
  it('answers with the hole around an unknown EID: as wide as can be, overlapping nothing', () => {
    const prefix = fc
      .tuple(
        fc.constantFrom(4, 16),
        fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 3, maxLength: 3 }),
        fc.integer({ min: 1, max: 24 }),
      )
      .map(([size, head, length]) =>
        prefixFromBytes(
          Uint8Array.from({ length: size }, (_, index) => head[index] ?? 0),
          length,
        ),
      );
    fc.assert(
      fc.property(
        fc.array(prefix, { maxLength: 12 }),
        fc.array(prefix, { maxLength: 6 }),
        prefix,
        (configured, registered, asked) => {
          const site = siteOptions('site', ...configured.map(({ text }) => text));
          const { register, ask, server } = mapServer([site]);
          for (const { text, family } of registered)
            register(site, [text], [family === 4 ? '203.0.113.2' : '2001:db8:f::2']);
          const holding = server.registrations().map(({ eid }) => parsePrefix(eid));
          const eid = prefixFromBytes(asked.bytes, asked.bytes.length * 8);
          const reply = ask(eid.text, asked.family === 4 ? '203.0.113.99' : '2001:db8:f::99');
          assert.ok(reply);
          const [answer] = reply.records;
          if (holding.some((each) => prefixContains(each, eid)))
            return assert.ok(answer!.locators.length > 0);
          const hole = eidOf(answer!)!.prefix;
          assert.equal(answer!.locators.length, 0);
          assert.equal(answer!.action, 1);
          assert.ok(prefixContains(hole, eid));
          const inSites = configured.filter((each) => prefixContains(each, eid));
          assert.equal(answer!.ttlMinutes, inSites.length > 0 ? 1 : 15);
          const fits = (candidate: typeof hole): boolean =>
            !holding.some((each) => prefixesOverlap(each, candidate)) &&
            configured.every((each) =>
              prefixContains(each, eid) ? prefixContains(each, candidate) : !prefixesOverlap(each, candidate),
            );
          assert.ok(fits(hole), `${hole.text} overlaps something`);
          if (hole.length > 0)
            assert.ok(!fits(prefixFromBytes(hole.bytes, hole.length - 1)), `${hole.text} could be wider`);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('as proxy gives the more specifics along, unless the question is inside one', () => {
    const site = siteOptions('site', '10.0.0.0/8');
    const { register, ask } = mapServer([site]);
    // The example of RFC 9301 section 5.5.
    register(site, ['10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24', '10.1.2.0/24'], ['203.0.113.2']);
    assert.deepEqual(eidsOf(ask('10.1.5.5')), ['10.1.0.0/16', '10.1.1.0/24', '10.1.2.0/24']);
    assert.deepEqual(eidsOf(ask('10.1.1.1')), ['10.1.1.0/24']);
    assert.ok(
      ask('10.1.1.1')!.records.every(
        ({ authoritative, locators }) => !authoritative && locators.every(({ local }) => !local),
      ),
    );
  });

  it('keeps the last registrant alone, or merges those who both ask for it', () => {
    const site = siteOptions('site', '10.0.0.0/8');
    const { register, ask, server } = mapServer([site]);
    const identity = (digit: string) => ({ xtrId: digit.repeat(32), siteId: '0'.repeat(16) });
    const rlocs = () =>
      ask('10.1.1.1')!.records[0]!.locators.map(({ address }) =>
        'address' in address ? address.address : '',
      );
    register(site, ['10.1.0.0/16'], ['203.0.113.2'], { identity: identity('1') });
    register(site, ['10.1.0.0/16'], ['203.0.113.3'], { identity: identity('2') });
    assert.deepEqual(rlocs(), ['203.0.113.3']);
    register(site, ['10.1.0.0/16'], ['203.0.113.2'], { identity: identity('1'), merge: true });
    register(site, ['10.1.0.0/16'], ['203.0.113.3'], { identity: identity('2'), merge: true });
    assert.deepEqual(rlocs(), ['203.0.113.2', '203.0.113.3']);
    assert.equal(server.registrations().length, 2);
  });

  it('tells a former registrant until it acknowledges', async () => {
    const site = siteOptions('site', '10.0.0.0/8');
    const { register, sent, clock, receive, plane } = mapServer([site]);
    const identity = (digit: string) => ({ xtrId: digit.repeat(32), siteId: '0'.repeat(16) });
    register(site, ['10.1.0.0/16'], ['203.0.113.2'], { identity: identity('1') });
    sent.length = 0;
    register(site, ['10.1.0.0/16'], ['203.0.113.3'], { identity: identity('2') });
    const toFormer = () => sent.filter(({ remote }) => remote.address === '203.0.113.2');
    assert.equal(toFormer().length, 1);
    await clock.advance(3000);
    assert.equal(toFormer().length, 2);
    const notice = decodeMessage(toFormer()[0]!.data);
    assert.ok(notice.type === 'map-notify');
    assert.equal(verify(toFormer()[0]!.data, site), 'ok');
    const ack = encodeMessage({
      ...notice,
      type: 'map-notify-ack',
      authentication: blankAuthentication(site),
    });
    receive(ack, '203.0.113.2');
    assert.equal(plane.environment.counters.get('drop.map-notify-ack-bad-mac'), 1);
    receive(sign(ack, site), '203.0.113.2');
    await clock.advance(60_000);
    assert.equal(toFormer().length, 2);
  });

  it('gives up on a former registrant that never acknowledges', async () => {
    const site = siteOptions('site', '10.0.0.0/8');
    const { register, sent, clock, plane } = mapServer([site]);
    register(site, ['10.1.0.0/16'], ['203.0.113.2']);
    sent.length = 0;
    register(site, ['10.1.0.0/16'], ['203.0.113.3']);
    await clock.advance(600_000);
    assert.equal(sent.filter(({ remote }) => remote.address === '203.0.113.2').length, 6);
    assert.equal(plane.environment.counters.get('map-notify-unacknowledged'), 1);
  });

  for (const algorithm of Object.keys(ALGORITHMS) as AlgorithmName[]) {
    it(`accepts ${algorithm} and answers in kind`, () => {
      const site = { ...siteOptions('site', '10.0.0.0/8'), algorithm };
      const { register, sent, server } = mapServer([site]);
      register(site, ['10.1.0.0/16'], ['203.0.113.2']);
      assert.equal(server.registrations().length, 1);
      assert.equal(verify(sent[0]!.data, site), 'ok');
    });
  }

  it('takes the registration of an Open Overlay Router, again and again', () => {
    const site: SiteOptions = {
      ...siteOptions('oor', '172.16.0.0/16'),
      keyId: 5,
      key: 'password',
      algorithm: 'hmac-sha-1-96',
    };
    const { receive, sent, server } = mapServer([site]);
    const { hex } = controlVectors().find(
      ({ name }) => name === 'Open Overlay Router: Map-Register, two locators, SHA-1',
    )!;
    for (let time = 0; time < 2; time++) receive(octets(hex), '10.2.1.2');
    assert.deepEqual(
      server.registrations().map(({ eid, locators }) => [eid, locators.map(({ rloc }) => rloc)]),
      [['172.16.2.0/24', ['10.2.1.2', '10.2.2.2']]],
    );
    assert.equal(sent.length, 2);
    const notify = decodeMessage(sent[0]!.data);
    // As it expects: Key ID 0, the whole of SHA-1.
    assert.ok(
      notify.type === 'map-notify' &&
        notify.authentication.keyId === 0 &&
        notify.authentication.data.length === 20,
    );
    assert.equal(verify(sent[0]!.data, site), 'ok');
  });

  it('says why it rejects, in a list that does not grow without bound', () => {
    const [one, two] = [siteOptions('one', '10.1.0.0/16'), siteOptions('two', '10.2.0.0/16')];
    const { register, registerMessage, receive, server, plane } = mapServer([one, two]);
    const why = () => server.rejected().at(-1)!.why;
    register({ ...one, key: 'x' }, ['10.1.0.0/16'], ['203.0.113.2']);
    assert.match(why(), /not made with the key of site one/);
    register({ ...one, keyId: 9 }, ['10.1.0.0/16'], ['203.0.113.2']);
    assert.match(why(), /key-id 9/);
    register({ ...one, algorithm: 'hmac-sha-1-96' }, ['10.1.0.0/16'], ['203.0.113.2']);
    assert.match(why(), /algorithm 1 is not the one configured/);
    register(one, ['10.3.0.0/16'], ['203.0.113.2']);
    assert.match(why(), /no site is configured for this EID/);
    register(one, ['10.1.0.0/16', '10.2.0.0/16'], ['203.0.113.2']);
    assert.match(why(), /site one may not register this EID/);
    assert.equal(server.rejected().at(-1)!.eid, '10.2.0.0/16');
    register(one, [], ['203.0.113.2']);
    assert.match(why(), /no record/);
    const again = registerMessage(one, ['10.1.0.0/16'], ['203.0.113.2']);
    receive(again);
    receive(again);
    assert.match(why(), /nonce is not greater/);
    for (let index = 0; index < 200; index++)
      register(one, [`10.3.${index}.0/24`], [`203.0.113.${(index % 200) + 1}`]);
    assert.ok(server.rejected().length <= 64);
    assert.ok(plane.environment.counters.get('drop.map-register-eid-not-allowed') > 0);
    assert.deepEqual(
      server.registrations().map(({ eid }) => eid),
      ['10.1.0.0/16'],
    );
  });

  it('allows exactly the prefix where more specifics are not accepted', () => {
    const base = siteOptions('site', '10.1.0.0/16');
    const site = { ...base, eids: base.eids.map((eid) => ({ ...eid, acceptMoreSpecifics: false })) };
    const { register, server } = mapServer([site]);
    register(site, ['10.1.1.0/24'], ['203.0.113.2']);
    assert.equal(server.registrations().length, 0);
    register(site, ['10.1.0.0/16'], ['203.0.113.2']);
    assert.equal(server.registrations().length, 1);
  });

  it('ends registrations that a new configuration does not allow', () => {
    const site = siteOptions('site', '10.1.0.0/16', '10.2.0.0/16');
    const { register, server } = mapServer([site]);
    register(site, ['10.1.0.0/16', '10.2.0.0/16'], ['203.0.113.2']);
    server.update({ addresses: [MAP_SERVER], sites: [siteOptions('site', '10.2.0.0/16')] });
    assert.deepEqual(
      server.registrations().map(({ eid }) => eid),
      ['10.2.0.0/16'],
    );
  });

  it('limits what one source can make it do', () => {
    const site = siteOptions('site', '10.0.0.0/8');
    const { register, ask, plane } = mapServer([site]);
    for (let index = 0; index < 1000; index++) register(site, ['10.1.0.0/16'], ['203.0.113.2']);
    assert.ok(plane.environment.counters.get('received.map-register') <= 100);
    for (let index = 0; index < 1000; index++) ask('10.1.1.1');
    assert.ok(plane.environment.counters.get('sent.map-reply') <= 400);
    // Others are still served.
    assert.ok(ask('10.1.1.1', '203.0.113.98'));
  });
});
