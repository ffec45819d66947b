// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError, loadConfig, nearest, parseConfig } from '../../../src/daemon/config.js';
import { keyLines } from '../../../src/daemon/toml-lines.js';

const problems = (text: string): string[] => {
  try {
    parseConfig(text, 'a.conf');
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.message.split('\n');
  }
  return [];
};
const warnings = (text: string): string[] =>
  parseConfig(text, 'a.conf').warnings.map(({ message }) => message);

const WHOLE = `
roles = ["access"]
user = "amptcp"
state_dir = "/var/db/amptcp"
[api]
socket = "/var/run/amptcp/amptcpd.sock"
group = "amptcp"
mode = 0o600
[log]
level = "debug"
[[rloc]]
address = "203.0.113.2"
interface = "em1"
gateway = "203.0.113.1"
priority = 1
weight = 50
[[rloc]]
address = "2001:DB8:0::2"
[lisp]
instance_id = 7
device = "lisp0"
mtu = 1460
routes = ["10.0.0.0/8"]
source_check = false
glean = false
map_resolvers = ["198.51.100.10"]
request_timeout_ms = 400
request_retries = 3
register_interval_seconds = 30
[lisp.probe]
interval_ms = 500
timeout_ms = 300
failures = 3
[[lisp.map_server]]
address = "198.51.100.10"
key_id = 1
key = "secret"
algorithm = "hmac-sha-256-128"
proxy_reply = true
[[lisp.database]]
eid = "192.0.2.0/28"
ttl_seconds = 600
[[lisp.database]]
eid = "192.0.2.16/28"
rlocs = [{ address = "203.0.113.2", priority = 2, weight = 10 }]
[[lisp.mapping]]
eid = "198.18.0.0/24"
rlocs = [
  { address = "203.0.113.130", priority = 1, weight = 50 },
  { address = "203.0.113.131" },
]
[intercept]
interfaces = ["em0"]
ports = ["80", "443", "1024-65535"]
include = ["198.18.0.0/15"]
exclude = ["198.18.255.0/24"]
source = "nat"
nat = ["192.0.2.0/28", "2001:db8:5::/64"]
hold_ms = 1000
hold_max = 10
[mptcp]
max_subflows = 3
connect_timeout_ms = 5000
congestion_control = "reno"
notsent_lowat = 100000
[relay]
idle_timeout_seconds = 60
half_open_timeout_seconds = 30
keepalive_seconds = 0
drain_seconds = 1
threads = 1
[map_server]
addresses = ["198.51.100.10"]
[[map_server.site]]
name = "site-a"
key_id = 2
key = "another"
algorithm = "hmac-sha-1-96"
eids = [{ prefix = "198.18.0.0/16", iid = 0, accept_more_specifics = true }]
`;

describe('configuration', () => {
  it('is read whole, prefixes and addresses canonical', () => {
    const { config } = parseConfig(WHOLE, 'a.conf');
    const rlocs = [
      { address: '203.0.113.2', interface: 'em1', gateway: '203.0.113.1', priority: 1, weight: 50 },
      { address: '2001:db8::2', interface: undefined, gateway: undefined, priority: 1, weight: 100 },
    ];
    assert.deepEqual(config, {
      roles: ['access'],
      user: 'amptcp',
      group: undefined,
      stateDir: '/var/db/amptcp',
      api: { socket: '/var/run/amptcp/amptcpd.sock', group: 'amptcp', mode: 0o600 },
      log: { level: 'debug' },
      rlocs,
      lisp: {
        ...config.lisp,
        iid: 7,
        device: 'lisp0',
        mtu: 1460,
        routes: ['10.0.0.0/8'],
        sourceCheck: false,
        glean: false,
        mapResolvers: ['198.51.100.10'],
        mapServers: [
          {
            address: '198.51.100.10',
            keyId: 1,
            key: 'secret',
            algorithm: 'hmac-sha-256-128',
            proxyReply: true,
          },
        ],
        database: [
          { eid: '192.0.2.0/28', iid: 7, ttlSeconds: 600, rlocs },
          {
            eid: '192.0.2.16/28',
            iid: 7,
            ttlSeconds: 900,
            rlocs: [{ ...rlocs[0], priority: 2, weight: 10 }],
          },
        ],
        mappings: [
          {
            eid: '198.18.0.0/24',
            iid: 7,
            rlocs: [
              { address: '203.0.113.130', priority: 1, weight: 50 },
              { address: '203.0.113.131', priority: 1, weight: 100 },
            ],
          },
        ],
        requestTimeoutMs: 400,
        requestRetries: 3,
        registerIntervalSeconds: 30,
        probe: { intervalMs: 500, timeoutMs: 300, failures: 3 },
      },
      intercept: {
        interfaces: ['em0'],
        ports: [
          { from: 80, to: 80 },
          { from: 443, to: 443 },
          { from: 1024, to: 65_535 },
        ],
        include: ['198.18.0.0/15'],
        exclude: ['198.18.255.0/24'],
        source: 'nat',
        nat: ['192.0.2.0/28', '2001:db8:5::/64'],
        holdMs: 1000,
        holdMax: 10,
      },
      mptcp: { maxSubflows: 3, connectTimeoutMs: 5000, congestionControl: 'reno', notSentLowat: 100_000 },
      relay: {
        idleTimeoutSeconds: 60,
        halfOpenTimeoutSeconds: 30,
        keepaliveSeconds: 0,
        drainSeconds: 1,
        threads: 1,
      },
      mapServer: {
        addresses: ['198.51.100.10'],
        sites: [
          {
            name: 'site-a',
            keyId: 2,
            key: 'another',
            algorithm: 'hmac-sha-1-96',
            eids: [{ prefix: '198.18.0.0/16', iid: 0, acceptMoreSpecifics: true }],
          },
        ],
      },
    });
  });

  it('fills in what is left out', () => {
    const { config } = parseConfig(
      'roles = ["map-server"]\n[map_server]\naddresses = ["192.0.2.1"]\n',
      'a.conf',
    );
    assert.equal(config.api.mode, 0o660);
    assert.deepEqual(config.intercept.ports, [{ from: 1, to: 65_535 }]);
    assert.equal(config.lisp.device, 'lisp0');
    assert.equal(config.relay.drainSeconds, 10);
  });

  it('names every error at once, with line, key and what was expected', () => {
    const text = `roles = ["acces", "xtr"]
state_dirr = "/x"
[[rloc]]
address = "203.0.113.2"
gateway = "203.0.113.1"
priority = 300
[lisp]
map_resolver = ["1.2.3.4"]
routes = ["10.0.0.1/8"]
[[lisp.map_server]]
address = "nope"
key = 5
[intercept]
ports = ["80", "0-5"]
source = "nats"
[[lisp.mapping]]
eid = "198.18.0.0/24"
rlocs = [{ address = "203.0.113.130", priority = 1, weight = 50 },
  { address = "x", size = 1 }]
`;
    assert.deepEqual(problems(text), [
      'a.conf:1: roles[0]: expected one of "access", "data-centre", "xtr", "map-server", found "acces"; did you mean "access"?',
      'a.conf:2: state_dirr: unknown key; did you mean "state_dir"?',
      'a.conf:5: rloc[0].gateway: a gateway needs the interface it is reached through: set "interface"',
      'a.conf:6: rloc[0].priority: expected an integer from 0 to 255, found 300',
      'a.conf:8: lisp.map_resolver: unknown key; did you mean "map_resolvers"?',
      'a.conf:9: lisp.routes[0]: expected a prefix: "10.0.0.1/8" has bits set beyond its length; did you mean 10.0.0.0/8?',
      'a.conf:11: lisp.map_server[0].address: expected an IPv4 or IPv6 address, found "nope"',
      'a.conf:12: lisp.map_server[0].key: expected the shared secret, found 5',
      'a.conf:14: intercept.ports[1]: expected a port or a range like "1024-65535", found "0-5"',
      'a.conf:15: intercept.source: expected one of "nat", "client", found "nats"',
      'a.conf:19: lisp.mapping[0].rlocs[1].address: expected an IPv4 or IPv6 address, found "x"',
      'a.conf:19: lisp.mapping[0].rlocs[1].size: unknown key; known here: address, priority, weight',
    ]);
  });

  it('names what is missing where it should be', () => {
    assert.deepEqual(problems('roles = ["access"]\n'), [
      'a.conf: rloc: missing; the role "access" needs at least one [[rloc]]',
      'a.conf: intercept.nat: missing; source = "nat" needs the gateway\'s own EID prefix, e.g. ["192.0.2.0/28"]',
    ]);
    assert.deepEqual(problems('roles = ["map-server"]\n[map_server]\n'), [
      'a.conf:2: map_server.addresses: missing; the role "map-server" needs the addresses to answer on',
    ]);
    assert.deepEqual(problems(''), [
      'a.conf: roles: missing; expected an array of "access", "data-centre", "xtr", "map-server"',
    ]);
    assert.deepEqual(
      problems(
        'roles = ["xtr"]\n[[rloc]]\naddress = "192.0.2.1"\n[[lisp.map_server]]\naddress = "192.0.2.2"\n',
      ),
      ['a.conf:4: lisp.map_server[0].key: missing; expected the shared secret'],
    );
  });

  it('refuses what does not go together', () => {
    const both = WHOLE.replace('roles = ["access"]', 'roles = ["access", "data-centre"]');
    assert.deepEqual(problems(both), [
      'a.conf:2: roles: expected "access" or "data-centre", not both: one daemon intercepts in one direction (servers that speak MPTCP need no "data-centre"; for others it runs on a host of its own, between this one and them)',
    ]);
    assert.deepEqual(problems(WHOLE.replace('"2001:DB8:0::2"', '"203.0.113.2"')), [
      'a.conf:18: rloc[1].address: 203.0.113.2 is there twice',
    ]);
    assert.deepEqual(problems(WHOLE.replace('gateway = "203.0.113.1"', 'gateway = "2001:db8::1"')), [
      'a.conf:14: rloc[0].gateway: expected an address of the RLOC\'s family (IPv4), found "2001:db8::1"',
    ]);
    assert.deepEqual(
      problems(WHOLE.replace('rlocs = [{ address = "203.0.113.2"', 'rlocs = [{ address = "203.0.113.9"')),
      [
        'a.conf:45: lisp.database[1].rlocs[0].address: 203.0.113.9 is no RLOC of this host; expected the address of an [[rloc]]',
      ],
    );
    assert.deepEqual(problems(WHOLE.replace('"2001:db8:5::/64"]', '"192.0.3.0/24"]')), [
      'a.conf:58: intercept.nat[1]: a second IPv4 prefix; expected at most one per address family',
    ]);
    assert.deepEqual(problems(WHOLE.replace('device = "lisp0"', 'device = "a-device-too-long"')), [
      'a.conf:21: lisp.device: expected an interface name of at most 15 characters, found "a-device-too-long"',
    ]);
    assert.match(
      problems(`roles = ["map-server"]\n[api]\nsocket = "/${'x'.repeat(120)}"\n`).at(-1)!,
      /:3: api\.socket: expected at most 103 octets/,
    );
  });

  it('warns of what is allowed but hardly meant', () => {
    assert.deepEqual(
      warnings(WHOLE.replace('[[lisp.database]]\neid = "192.0.2.0/28"\nttl_seconds = 600', '')),
      [
        '192.0.2.0/28 is in no [[lisp.database]] entry: it is not registered, so answers may not find this gateway',
        '2001:db8:5::/64 is in no [[lisp.database]] entry: it is not registered, so answers may not find this gateway',
      ],
    );
    assert.deepEqual(warnings('roles = ["map-server"]\n[map_server]\naddresses = ["192.0.2.1"]\n'), [
      'no site is configured: nobody may register',
    ]);
  });

  it('says where the TOML itself is wrong', () => {
    assert.match(problems('roles = ["xtr"]\nuser = amptcp\n')[0]!, /^a\.conf:2: no valid TOML: /);
    assert.match(problems('[a]\n[a]\n')[0]!, /^a\.conf:2: no valid TOML: /);
  });

  it('says when the file cannot be read', () => {
    assert.throws(() => loadConfig('/nonexistent/amptcpd.conf'), {
      message: /^\/nonexistent\/amptcpd\.conf: cannot read the file: ENOENT/,
    });
  });

  it('never throws anything but a ConfigError, whatever the values', () => {
    const json = fc.jsonValue({ maxDepth: 2 });
    const toml = (value: unknown): string =>
      value === null
        ? '""'
        : Array.isArray(value)
          ? `[${value.map(toml).join(', ')}]`
          : typeof value === 'object'
            ? `{ ${Object.entries(value)
                .map(([key, inner]) => `${JSON.stringify(key)} = ${toml(inner)}`)
                .join(', ')} }`
            : JSON.stringify(value);
    const keys = ['roles', 'rloc', 'lisp', 'intercept', 'map_server', 'api', 'relay', 'mptcp', 'user'];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...keys), json), (table) => {
        const text = Object.entries(table)
          .map(([key, value]) => `${key} = ${toml(value)}`)
          .join('\n');
        try {
          parseConfig(text, 'a.conf');
        } catch (error) {
          assert.ok(error instanceof ConfigError, String((error as Error).stack));
          assert.ok(error.problems.length > 0);
        }
      }),
    );
  });
});

describe('lines of keys', () => {
  it('are found through tables, arrays, strings of every kind and comments', () => {
    const lines = keyLines(`# comment = 1
a = 1
b.c = "[x]" # d = 2
"quoted key" = '''
e = 3
[nope]
'''
list = [
  1, # one
  [2,
   3],
]
[[t]]
f = { g = 1, h = [ { i = "]" } ] }
[[t]]
f = """
\\"""
x = 1"""
[t.sub]
j = 2024-01-01T00:00:00Z
[[t.deep]]
k = 1
[last]
l = true`);
    const expected = {
      a: 2,
      'b.c': 3,
      'quoted key': 4,
      list: 8,
      'list[0]': 9,
      'list[1]': 10,
      'list[1][1]': 11,
      't[0]': 13,
      't[0].f': 14,
      't[0].f.h[0].i': 14,
      't[1].f': 16,
      't[1].sub.j': 20,
      't[1].deep[0].k': 22,
      'last.l': 24,
    };
    for (const [key, line] of Object.entries(expected)) assert.equal(lines.get(key), line, key);
    for (const key of ['e', 'nope', 'x', 'd', 'comment']) assert.equal(lines.has(key), false, key);
  });
});

describe('nearest', () => {
  it('finds what was probably meant, or nothing', () => {
    assert.equal(nearest('state-dir', ['state_dir', 'user']), 'state_dir');
    assert.equal(nearest('prioriy', ['priority', 'weight']), 'priority');
    assert.equal(nearest('colour', ['priority', 'weight']), undefined);
  });
});
