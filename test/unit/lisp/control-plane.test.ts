// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encapsulate } from '../../../src/lisp/codec/ecm.js';
import { encodeMessage } from '../../../src/lisp/codec/messages.js';
import { message as anyMessage } from './codec/generators.js';
import { controlVectors, octets } from './codec/vectors.js';
import { MAP_SERVER, Network, siteOptions, xtrOptions } from './simulation.js';

const RLOCS = ['203.0.113.2', '2001:db8:f::2'];

/** One host with both roles on the same addresses. */
function both(seed: number) {
  const network = new Network(seed);
  const site = siteOptions('site', '192.0.2.0/24', '2001:db8:1::/48');
  const plane = network.host('all', [...RLOCS, MAP_SERVER], {
    xtr: xtrOptions(site, RLOCS, ['192.0.2.0/24', '2001:db8:1::/48'], {
      mapServers: [{ ...site, address: MAP_SERVER, proxyReply: false }],
    }),
    mapServer: { addresses: [MAP_SERVER, RLOCS[0]!], sites: [site] },
  });
  return { network, plane };
}

describe('ControlPlane', () => {
  it('is map-server, map-resolver and xTR on one host', async () => {
    const { network, plane } = both(1);
    await network.clock.advance(100);
    assert.equal(plane.xtr!.registrations()[0]!.state, 'registered');
    assert.equal(plane.mapServer!.registrations().length, 2);
    const answer = plane.xtr!.resolve('198.18.1.1');
    await network.clock.advance(100);
    assert.equal((await answer).status, 'negative');
  });

  it('counts what it has no role for', async () => {
    const network = new Network(1);
    const plane = network.host('xtr', RLOCS, { xtr: xtrOptions(siteOptions('site'), RLOCS, []) });
    const { hex } = controlVectors().find(({ message }) => message.type === 'map-register')!;
    plane.receive({ local: RLOCS[0]!, remote: { address: '203.0.113.9', port: 4342 }, data: octets(hex) });
    assert.equal(plane.environment.counters.get('drop.no-role-for-map-register'), 1);
  });

  it('outlives any datagram: each is answered, acted upon or counted as a drop', async () => {
    const { network, plane } = both(3);
    await network.clock.advance(100);
    const datagram = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      anyMessage.map(encodeMessage),
      anyMessage.map((message) => encodeMessage(encapsulate(message, '192.0.2.1', '198.18.1.1'))),
      fc.tuple(fc.constantFrom(...controlVectors()), fc.nat(300), fc.nat(255)).map(([{ hex }, at, value]) => {
        const bytes = octets(hex);
        bytes[at % bytes.length] = value;
        return bytes;
      }),
    );
    const total = (): number =>
      Object.values(plane.environment.counters.snapshot()).reduce((sum, value) => sum + value, 0);
    fc.assert(
      fc.property(
        datagram,
        fc.constantFrom(...RLOCS, MAP_SERVER),
        fc.constantFrom('203.0.113.9', '2001:db8:f::9', MAP_SERVER),
        (data, local, remote) => {
          const before = total();
          plane.receive({ local, remote: { address: remote, port: 4342 }, data });
          assert.ok(total() > before, 'neither counted nor dropped');
        },
      ),
      { numRuns: 3000 },
    );
    assert.equal(
      plane.environment.counters.get('drop.internal-error'),
      0,
      JSON.stringify(network.log.find(({ event }) => event === 'control-internal-error')),
    );
    // Nothing of it was believed.
    assert.deepEqual(plane.xtr!.list(), []);
    assert.equal(plane.mapServer!.registrations().length, 2);
    await network.clock.advance(300_000);
    assert.equal(plane.mapServer!.registrations().length, 2);
  });
});
