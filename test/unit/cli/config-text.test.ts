// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configText } from '../../../src/cli/config-text.js';
import { parseConfig } from '../../../src/daemon/config.js';

const FILES = {
  'a gateway': `
roles = ["access"]
user = "amptcp"
[api]
mode = 0o640
group = "wheel"
[[rloc]]
address = "203.0.113.2"
interface = "em1"
gateway = "203.0.113.1"
weight = 50
[[rloc]]
address = "2001:db8:f1::2"
[lisp]
instance_id = 7
mtu = 1400
map_resolvers = ["198.51.100.10"]
[[lisp.map_server]]
address = "198.51.100.10"
key = "say \\"please\\""
[[lisp.database]]
eid = "192.0.2.0/28"
[[lisp.mapping]]
eid = "198.18.0.0/24"
instance_id = 9
rlocs = [{ address = "203.0.113.130", priority = 2 }, { address = "203.0.114.130" }]
[intercept]
interfaces = ["em0"]
ports = ["80", "1024-65535"]
include = ["198.18.0.0/15"]
nat = ["192.0.2.0/28"]
`,
  'a map-server': `
roles = ["map-server"]
[map_server]
addresses = ["198.51.100.10"]
[[map_server.site]]
name = "site-a"
key_id = 3
key = "secret"
algorithm = "hmac-sha-1-96"
eids = [{ prefix = "198.18.0.0/16", iid = 4, accept_more_specifics = true }]
`,
};

for (const [name, file] of Object.entries(FILES)) {
  test(`${name}: what is shown is a file that says the same`, () => {
    const { config } = parseConfig(file, 'given');
    const shown = configText(JSON.parse(JSON.stringify(config)) as Record<string, unknown>);
    assert.deepEqual(parseConfig(shown, 'shown').config, config, shown);
  });
}
