// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../../../src/daemon/config.js';
import { DAEMON_HOSTS, configFile } from '../../../src/lab/configs.js';
import { MAX_RLOCS, addresses, hostNames, links, routes, scripts } from '../../../src/lab/topology.js';

describe('the topology', () => {
  for (const rlocs of [1, 2, 3, MAX_RLOCS]) {
    it(`with ${rlocs} providers gives every address and device once`, () => {
      const options = { rlocs, rateMbps: 50 };
      const ends = links(options).flatMap(({ a, b }) => [a, b]);
      const names = hostNames(options);
      assert.equal(new Set(names).size, names.length);
      for (const { host } of ends) assert.ok(names.includes(host), host);
      const all = ends.flatMap((end) => end.addresses);
      assert.equal(new Set(all).size, all.length);
      const devices = ends.map(({ host, device }) => `${host} ${device}`);
      assert.equal(new Set(devices).size, devices.length);
      for (const { device } of ends) assert.ok(device.length < 16, device);
    });
  }

  it('routes only by hosts that exist', () => {
    const options = { rlocs: 3, rateMbps: 50 };
    const known = new Set(
      links(options)
        .flatMap(({ a, b }) => [...a.addresses, ...b.addresses])
        .map((text) => text.split('/')[0]),
    );
    for (const { route } of routes(options)) assert.ok(known.has(route.split(' via ')[1]), route);
  });

  it('shapes the providers and nobody else, and nobody when told so', () => {
    const { hosts } = scripts({ rlocs: 2, rateMbps: 50 });
    for (const [host, script] of hosts)
      assert.equal(script.includes('tbf rate 50mbit'), host.startsWith('provider'), host);
    assert.ok(
      [...scripts({ rlocs: 2, rateMbps: 0 }).hosts.values()].every((script) => !script.includes('tbf')),
    );
  });
});

describe("the daemons' files", () => {
  for (const family of [4, 6] as const) {
    for (const source of ['nat', 'client'] as const) {
      it(`are valid: IPv${family}, source = "${source}"`, () => {
        for (const host of DAEMON_HOSTS) {
          const { config, warnings } = parseConfig(
            configFile(host, { family, source, rlocs: 2, directory: '/tmp/lab', site: 1 }),
            host,
          );
          assert.deepEqual(warnings, []);
          assert.equal(config.api.socket, `/tmp/lab/${host}/amptcpd.sock`);
          if (host === 'gateway') assert.deepEqual(config.intercept.nat, [addresses.natPrefix(family)]);
        }
      });
    }
  }
});
