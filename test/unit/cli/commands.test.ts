// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { host } from '../../../src/cli/host.js';
import { amptcp, FakeDaemon, type Result } from './harness.js';
import { connections, mappings, paths, registrations, status } from './data.js';

let daemon: FakeDaemon;
before(async () => {
  daemon = await FakeDaemon.start();
});
after(() => daemon.stop());
beforeEach(() => {
  daemon.answers = {};
  daemon.asked.length = 0;
});

const ask = async (...argv: string[]): Promise<Result> => {
  const result = await amptcp(...argv, '--socket', daemon.socket);
  assert.ifError(daemon.fault);
  return result;
};
const asked = () => daemon.asked[daemon.asked.length - 1];
const lines = (...text: string[]): string => text.map((line) => `${line}\n`).join('');
const succeeds = (result: Result, ...text: string[]): void => {
  assert.deepEqual(result, { exit: 0, stdout: lines(...text), stderr: '' });
};
const fails = (result: Result, exit: number, ...text: string[]): void => {
  assert.deepEqual(result, { exit, stdout: '', stderr: lines(...text) });
};

describe('status', () => {
  test('for people', async () => {
    daemon.answers = { status };
    succeeds(
      await ask('status'),
      'amptcpd        0.1.0, running, pid 4711, on linux',
      'roles          access',
      'configuration  /etc/amptcpd.conf',
      'up for         1d 2h',
      'intercepting   yes',
      'connections    2 active, 1 held, 40 since start (4 direct, 3 failed)',
      'to servers     1.2 MB',
      'to clients     98.8 GB',
      'paths          3 up, 1 down, 0 unknown',
      'data plane     lisp0 (user), MTU 1460, 2 mappings, 1 pin',
      'packets        1000 encapsulated, 2000 decapsulated, 0 queued',
      'drops          no-mapping 7, source-rloc-mismatch 1',
      '',
      'RLOC         INTERFACE  PRIORITY  WEIGHT',
      '203.0.113.2  em1               1      50',
      '203.0.114.2  -                 1      50',
      '',
      'MAP-SERVER     STATE       LAST NOTIFY               REASON',
      '198.51.100.10  registered  2026-01-02T03:04:06.000Z  -',
      '198.51.100.11  failed      -                         no Map-Notify',
      '',
      'Warning: no answer from map-server 198.51.100.11',
    );
  });

  test('for programs: the object and nothing else', async () => {
    daemon.answers = { status };
    const result = await ask('status', '--json');
    assert.deepEqual(JSON.parse(result.stdout), status);
    assert.equal(result.stderr, '');
  });

  test('of a map-server, which has no data plane', async () => {
    daemon.answers = {
      status: {
        ...status,
        plane: undefined,
        roles: ['map-server'],
        rlocs: [],
        mapServers: [],
        warnings: [],
        paths: { up: 0, down: 0, unknown: 0 },
      },
    };
    succeeds(
      await ask('status'),
      'amptcpd        0.1.0, running, pid 4711, on linux',
      'roles          map-server',
      'configuration  /etc/amptcpd.conf',
      'up for         1d 2h',
    );
  });
});

describe('mapping', () => {
  test('list', async () => {
    daemon.answers = { mappingList: { mappings } };
    succeeds(
      await ask('mapping', 'list'),
      'IID  EID              RLOC              PRIORITY  WEIGHT  STATE        SOURCE     EXPIRES',
      '  0  198.18.1.0/24    203.0.123.2              1      50  up           map-reply  12m 34s',
      '                      203.0.124.2              1      50  down',
      '  7  2001:db8:1::/48  2001:db8:f1::2         255       0  unreachable  static     never',
      '  0  198.19.0.0/16    natively-forward         -       -  -            map-reply  12.3 s',
    );
    assert.deepEqual(asked()?.query, {});
    daemon.answers = { mappingList: { mappings: [] } };
    succeeds(await ask('mapping', 'list', '--iid', '7'), 'The map-cache is empty.');
    assert.deepEqual(asked()?.query, { iid: '7' });
  });

  test('show', async () => {
    daemon.answers = { mappingShow: mappings[0]! };
    succeeds(
      await ask('mapping', 'show', '198.18.1.0/24'),
      'EID          198.18.1.0/24',
      'instance-ID  0',
      'source       map-reply',
      'TTL          15m 0s',
      'expires in   12m 34s',
      '',
      'RLOC         PRIORITY  WEIGHT  REACHABLE  STATE',
      '203.0.123.2         1      50  yes        up',
      '203.0.124.2         1      50  yes        down',
    );
    assert.deepEqual(asked()?.query, { eid: '198.18.1.0/24' });
    daemon.answers = { mappingShow: { code: 'not-found', message: 'No mapping for 198.18.9.0/24.' } };
    fails(await ask('mapping', 'show', '198.18.9.0/24'), 5, 'amptcp: No mapping for 198.18.9.0/24.');
  });

  test('add', async () => {
    daemon.answers = { mappingAdd: { ...mappings[1]!, source: 'cli' } };
    succeeds(
      await ask('mapping', 'add', '2001:DB8:1::/48', '2001:db8:f1::2,255,0', '203.0.113.9', '--iid', '7'),
      'Added.',
      '',
      'EID          2001:db8:1::/48',
      'instance-ID  7',
      'source       cli',
      'TTL          none',
      'expires in   never',
      '',
      'RLOC            PRIORITY  WEIGHT  REACHABLE  STATE',
      '2001:db8:f1::2       255       0  no         unknown',
    );
    assert.deepEqual(asked()?.body, {
      eid: '2001:db8:1::/48',
      iid: 7,
      rlocs: [{ address: '2001:db8:f1::2', priority: 255, weight: 0 }, { address: '203.0.113.9' }],
    });
    daemon.answers = { mappingAdd: { code: 'conflict', message: 'The configuration has that mapping.' } };
    fails(
      await ask('mapping', 'add', '10.0.0.0/8', '203.0.113.9'),
      6,
      'amptcp: The configuration has that mapping.',
    );
  });

  test('what is no prefix, RLOC or instance-ID never reaches the daemon', async () => {
    const cases: [string[], string][] = [
      [
        ['mapping', 'add', '10.0.0/8', '203.0.113.9'],
        '"10.0.0/8" is no IP prefix; expected something like 192.0.2.0/24 or 2001:db8::/32.',
      ],
      [
        ['mapping', 'remove', '10.0.0.1/8'],
        '"10.0.0.1/8" has bits set beyond its length; did you mean 10.0.0.0/8?',
      ],
      [
        ['mapping', 'lookup', 'localhost'],
        '"localhost" is no IP prefix; expected something like 192.0.2.0/24 or 2001:db8::/32.',
      ],
      [
        ['mapping', 'show', '10.0.0.0/40'],
        '"10.0.0.0/40" is no IP prefix: its length must be a number from 0 to 32.',
      ],
      [
        ['mapping', 'add', '10.0.0.0/8', '203.0.113.9,1,1000'],
        '"203.0.113.9,1,1000": weight must be a number from 0 to 100.',
      ],
      [['mapping', 'add', '10.0.0.0/8', '::1', '0:0::1'], '::1 is named twice.'],
      [
        ['mapping', 'list', '--iid', '16777216'],
        '--iid: Expected an integer less than or equal to 16777215 but received: 16777216',
      ],
      [['connection', 'show', '-5'], '"-5" is no connection number.'],
      [['connection', 'kill', '1e3'], '"1e3" is no connection number.'],
      [['subflow', 'add', '1', 'nowhere'], 'RLOC: "nowhere" is no IPv4 or IPv6 address.'],
      [['subflow', 'add', '1', '::1', '--local', 'x'], '--local: "x" is no IPv4 or IPv6 address.'],
      [['path', 'probe', '203.0.113.0/24'], 'RLOC: "203.0.113.0/24" is no IPv4 or IPv6 address.'],
      [
        ['doctor', '--path', '198.18.1.10'],
        '"198.18.1.10" is no destination; expected 198.18.1.10:443 or [2001:db8::10]:443.',
      ],
      [['mapping', 'show'], 'Missing 1 required arg:\neid  EID prefix.'],
      [['path', 'list', 'now'], "'amptcp path list' takes no argument 'now'."],
      [['status', 'now'], "'amptcp status' takes no argument 'now'."],
    ];
    for (const [argv, message] of cases) {
      fails(
        await ask(...argv),
        2,
        `amptcp: ${message}${message.endsWith('.') || message.includes('\n') || message.endsWith('?') ? '' : '.'}`,
      );
      const json = await ask(...argv, '--json');
      assert.deepEqual(
        [json.exit, JSON.parse(json.stdout), json.stderr],
        [2, { code: 'usage', message, exit: 2 }, ''],
      );
    }
    assert.deepEqual(daemon.asked, []);
  });

  test('remove', async () => {
    daemon.answers = { mappingRemove: { removed: true } };
    succeeds(await ask('mapping', 'remove', '198.18.1.0/24'), 'Removed 198.18.1.0/24.');
    assert.deepEqual(asked()?.query, { eid: '198.18.1.0/24' });
  });

  test('lookup', async () => {
    const found = {
      iid: 0,
      eid: '198.18.1.10/32',
      asked: true,
      elapsedMs: 23.4,
      status: 'found',
      mapping: mappings[0],
    };
    daemon.answers = { mappingLookup: found };
    const result = await ask('mapping', 'lookup', '198.18.1.10');
    assert.equal(result.exit, 0);
    assert.equal(result.stdout.split('\n')[0], 'Answered by the mapping system in 23 ms.');
    assert.deepEqual(asked()?.query, { eid: '198.18.1.10/32' });

    daemon.answers = { mappingLookup: { ...found, asked: false, status: 'negative', mapping: mappings[2] } };
    succeeds(
      await ask('mapping', 'lookup', '198.19.0.1'),
      'Answered from the map-cache.',
      '',
      'EID          198.19.0.0/16',
      'instance-ID  0',
      'source       map-reply',
      'TTL          1m 0s',
      'expires in   12.3 s',
      'action       natively-forward',
    );
    daemon.answers = {
      mappingLookup: {
        ...found,
        status: 'unreachable',
        mapping: undefined,
        reason: 'no map-resolver answered',
      },
    };
    fails(
      await ask('mapping', 'lookup', '198.18.1.10'),
      8,
      'amptcp: The mapping system did not answer for 198.18.1.10/32: no map-resolver answered.',
    );
  });

  test('flush', async () => {
    daemon.answers = { mappingFlush: { flushed: 2 } };
    succeeds(await ask('mapping', 'flush'), 'Forgot 2 mappings.');
    assert.deepEqual(asked()?.body, {});
    succeeds(await ask('mapping', 'flush', '--iid', '7'), 'Forgot 2 mappings.');
    assert.deepEqual(asked()?.body, { iid: 7 });
  });
});

describe('connection', () => {
  test('list', async () => {
    daemon.answers = { connectionList: { connections } };
    succeeds(
      await ask('connection', 'list'),
      'ID  CLIENT               DESTINATION         STATE        PROTOCOL  SUBFLOWS     UP     DOWN     AGE',
      '42  10.10.0.2:40123      198.18.1.10:443     established  mptcp            2  999 B  49.0 MB   8.1 s',
      '43  [2001:db8::2]:50000  [2001:db8:9::1]:80  held         tcp              0    0 B      0 B  120 ms',
    );
    daemon.answers = { connectionList: { connections: [] } };
    succeeds(await ask('connection', 'list'), 'No connections.');
  });

  test('show', async () => {
    daemon.answers = { connectionShow: connections[0]! };
    succeeds(
      await ask('connection', 'show', '42'),
      'connection   42',
      'client       10.10.0.2:40123',
      'destination  198.18.1.10:443',
      'source       192.0.2.1:51234',
      'state        established',
      'protocol     mptcp',
      'instance-ID  0',
      'token        0x0000beef',
      'to server    999 B',
      'to client    49.0 MB',
      'age          8.1 s',
      '',
      'SUBFLOW  LOCAL            REMOTE           LOCAL RLOC   REMOTE RLOC  STATE                   SENT  RECEIVED  RETRANSMITS     RTT',
      '      0  192.0.2.1:51234  198.18.1.10:443  203.0.113.2  203.0.123.2  established           1.0 kB   25.0 MB            2   12 ms',
      '      1  192.0.2.1:51235  198.18.1.10:443  203.0.114.2  203.0.124.2  established (backup)     0 B   24.0 MB            0  8.3 ms',
      '      2  192.0.2.1:51236  198.18.1.10:443  203.0.113.2  203.0.125.2  refused                    -         -            -       -',
    );
    assert.deepEqual(asked()?.params, { id: '42' });
  });

  test('kill', async () => {
    daemon.answers = { connectionKill: { removed: true } };
    succeeds(await ask('connection', 'kill', '42'), 'Reset connection 42.');
    daemon.answers = { connectionKill: { code: 'not-found', message: 'there is no connection 42' } };
    fails(await ask('connection', 'kill', '42'), 5, 'amptcp: There is no connection 42.');
  });
});

describe('subflow', () => {
  test('list, add, remove', async () => {
    const [first] = connections[0]!.subflows;
    daemon.answers = { subflowList: { subflows: [] }, subflowAdd: first!, subflowRemove: { removed: true } };
    succeeds(await ask('subflow', 'list', '43'), 'No subflows.');
    succeeds(
      await ask('subflow', 'add', '42', '203.0.123.2', '--local', '203.0.113.2', '--backup'),
      'Added.',
      '',
      'SUBFLOW  LOCAL            REMOTE           LOCAL RLOC   REMOTE RLOC  STATE          SENT  RECEIVED  RETRANSMITS    RTT',
      '      0  192.0.2.1:51234  198.18.1.10:443  203.0.113.2  203.0.123.2  established  1.0 kB   25.0 MB            2  12 ms',
    );
    assert.deepEqual(asked()?.body, { remote: '203.0.123.2', local: '203.0.113.2', backup: true });
    succeeds(await ask('subflow', 'remove', '42', '1'), 'Removed subflow 1 of connection 42.');
    assert.deepEqual(asked()?.params, { id: '42', subflow: '1' });
    daemon.answers = { subflowAdd: { code: 'conflict', message: 'The peer takes no more subflows.' } };
    fails(await ask('subflow', 'add', '42', '203.0.123.2'), 6, 'amptcp: The peer takes no more subflows.');
  });
});

describe('path', () => {
  const shown = [
    'LOCAL RLOC   REMOTE RLOC  STATE     RTT   MTU    SENT  RECEIVED  CONNECTIONS  REASON',
    '203.0.113.2  203.0.123.2  up     4.6 ms  1464  1.5 kB   30.0 GB            1  probe answered',
    '203.0.114.2  203.0.124.2  down        -     -     0 B       0 B            0  probe timed out',
  ];
  test('list', async () => {
    daemon.answers = { pathList: { paths } };
    succeeds(await ask('path', 'list'), ...shown);
  });
  test('probe says by its exit status that a path is down', async () => {
    daemon.answers = { pathProbe: { paths } };
    assert.deepEqual(await ask('path', 'probe'), { exit: 7, stdout: lines(...shown), stderr: '' });
    assert.deepEqual(asked()?.body, {});
    daemon.answers = { pathProbe: { paths: [paths[0]!] } };
    const result = await ask('path', 'probe', '203.0.123.2', '--json');
    assert.deepEqual([result.exit, JSON.parse(result.stdout)], [0, { paths: [paths[0]] }]);
    assert.deepEqual(asked()?.body, { remote: '203.0.123.2' });
  });
});

describe('bypass and registration', () => {
  test('bypass list', async () => {
    daemon.answers = { bypassList: { bypass: [{ prefix: '192.0.2.7/32', expiresInSeconds: 59.4 }] } };
    succeeds(await ask('bypass', 'list'), 'DESTINATION   FOR ANOTHER', '192.0.2.7/32       59.4 s');
  });
  test('registration list names what was rejected, and why', async () => {
    daemon.answers = { registrationList: { registrations } };
    succeeds(
      await ask('registration', 'list'),
      'SITE  IID  EID            STATE       RLOCS                     FROM          LAST SEEN  REASON',
      'dc1     0  198.18.1.0/24  registered  203.0.123.2, 203.0.124.2  203.0.123.2  12.0 s ago  -',
      '-       0  198.18.2.0/24  rejected    -                         203.0.133.2  500 ms ago  authentication failed (3 times)',
    );
    daemon.answers = { registrationList: { code: 'no-role', message: 'This daemon is no map-server.' } };
    fails(await ask('registration', 'list'), 6, 'amptcp: This daemon is no map-server.');
  });
});

describe('config', () => {
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-config-'));
  after(() => rmSync(folder, { recursive: true }));

  test('show', async () => {
    daemon.answers = {
      configShow: {
        file: '/etc/amptcpd.conf',
        loadedAt: '2026-01-02T03:04:05.000Z',
        config: {
          roles: ['access', 'map-server'],
          lisp: { iid: 0, mapServers: [{ address: '198.51.100.10', key: '***' }], routes: [] },
        },
      },
    };
    succeeds(
      await ask('config', 'show'),
      '# /etc/amptcpd.conf, loaded 2026-01-02T03:04:05.000Z',
      'roles = ["access", "map-server"]',
      '',
      '[lisp]',
      'instance_id = 0',
      'routes = []',
      '',
      '[[lisp.map_server]]',
      'address = "198.51.100.10"',
      'key = "***"',
    );
  });

  test('reload', async () => {
    daemon.answers = { configReload: { changed: ['intercept.ports'], restart: ['user'] } };
    succeeds(await ask('config', 'reload'), 'In effect: intercept.ports', 'Needs a restart: user');
    daemon.answers = { configReload: { changed: [], restart: [] } };
    succeeds(await ask('config', 'reload'), 'Nothing has changed.');
    daemon.answers = {
      configReload: {
        code: 'invalid-config',
        message: '/etc/amptcpd.conf has 2 errors; nothing was changed',
        details: [
          { line: 12, key: 'rloc[0].priority', message: 'expected an integer from 0 to 255, found 300' },
          { message: 'no rlocs' },
        ],
      },
    };
    fails(
      await ask('config', 'reload'),
      7,
      'amptcp: /etc/amptcpd.conf has 2 errors; nothing was changed:',
      '  line 12, rloc[0].priority: expected an integer from 0 to 255, found 300',
      '  no rlocs',
    );
  });

  test('check needs no daemon', async () => {
    const good = join(folder, 'good.conf');
    writeFileSync(good, 'roles = ["map-server"]\n[map_server]\naddresses = ["198.51.100.10"]\n');
    const result = await amptcp('config', 'check', good);
    assert.deepEqual(
      [result.exit, result.stdout.split('\n')[0], result.stderr],
      [0, `${good}: no errors.`, ''],
    );

    const bad = join(folder, 'bad.conf');
    writeFileSync(bad, 'roles = ["map-server"]\n[map_server]\naddresses = ["198.51.100.10"]\nadresses = 3\n');
    const text = await amptcp('config', 'check', bad);
    assert.equal(text.exit, 7);
    assert.match(text.stderr, /^amptcp: .*bad\.conf has 1 error:\n {2}line 4, map_server\.adresses: .+\n$/);
    const json = await amptcp('config', 'check', bad, '--json');
    const report = JSON.parse(json.stdout);
    assert.deepEqual([json.exit, report.code, report.details[0].line], [7, 'invalid-config', 4]);

    assert.equal((await amptcp('config', 'check', join(folder, 'missing.conf'))).exit, 7);
  });
});

describe('doctor', () => {
  const findings = [
    { name: 'mptcp', ok: true, detail: 'net.mptcp.enabled is 1' },
    { name: 'nftables', ok: false, detail: 'nft is not installed', remedy: 'apt-get install nftables' },
  ];

  test('this host, without a daemon', async (context) => {
    context.mock.method(host, 'findings', async () => findings);
    assert.deepEqual(await amptcp('doctor', '--socket', '/nonexistent'), {
      exit: 7,
      stdout: lines(
        'ok    mptcp     net.mptcp.enabled is 1',
        'FAIL  nftables  nft is not installed',
        '                -> apt-get install nftables',
        '',
        '1 fault found.',
      ),
      stderr: '',
    });
    const json = await amptcp('doctor', '--json');
    assert.deepEqual([json.exit, JSON.parse(json.stdout)], [7, { findings }]);
  });

  test('the way to a destination', async () => {
    daemon.answers = {
      doctorPath: {
        destination: { address: '198.18.1.10', port: 443 },
        findings: [findings[0]!],
        paths: [
          {
            local: '203.0.113.2',
            remote: '203.0.123.2',
            state: 'up',
            rttMs: 4.56,
            mtu: 1464,
            mptcp: 'yes',
            join: 'refused',
          },
          { local: '203.0.114.2', remote: '203.0.124.2', state: 'down' },
        ],
      },
    };
    succeeds(
      await ask('doctor', '--path', '198.18.1.10:443'),
      'Path to 198.18.1.10:443',
      '',
      'LOCAL RLOC   REMOTE RLOC  STATE     RTT      MTU  MPTCP  MP_JOIN',
      '203.0.113.2  203.0.123.2  up     4.6 ms     1464  yes    refused',
      '203.0.114.2  203.0.124.2  down        -  unknown  -      -',
      '',
      'ok    mptcp  net.mptcp.enabled is 1',
      '',
      'All is well.',
    );
    assert.deepEqual(asked()?.query, { destination: '198.18.1.10:443' });
  });
});

describe('when the daemon cannot be talked to', () => {
  test('it is not running', async () => {
    const missing = await amptcp('status', '--socket', '/nonexistent/amptcpd.sock');
    assert.equal(missing.exit, 3);
    assert.match(
      missing.stderr,
      /^amptcp: The daemon is not running: there is no socket \/nonexistent\/amptcpd\.sock\.\nStart it with: .+\n$/,
    );
    const stale = await amptcp('status', '--socket', '/dev/null', '--json');
    assert.equal(stale.exit, 3);
    const report = JSON.parse(stale.stdout);
    assert.deepEqual(
      [report.code, report.exit, report.message],
      ['not-running', 3, 'The daemon is not running: nobody listens at /dev/null.'],
    );
  });

  test('what answers is something else', async () => {
    daemon.answers = { status: { raw: '<html>', status: 200 } };
    fails(
      await ask('status'),
      1,
      `amptcp: What answers at ${daemon.socket} is not amptcpd, or another version of it (HTTP status 200 for GET /v1/status).`,
    );
    daemon.answers = { status: { raw: '{"message":"x"}', status: 500 } };
    assert.equal((await ask('status')).exit, 1);
  });

  test('it is stopping', async () => {
    daemon.answers = { status: { code: 'unavailable', message: 'The daemon is shutting down.' } };
    fails(await ask('status'), 3, 'amptcp: The daemon is shutting down.');
  });
});

describe('a command that does not exist', () => {
  test('is answered with the one it resembles', async () => {
    fails(
      await amptcp('mapping', 'lits'),
      2,
      "amptcp: There is no command 'mapping lits'.",
      "Did you mean 'amptcp mapping list'? 'amptcp help' lists the commands.",
    );
    const json = await amptcp('xyzzyxyzzy', '--json');
    assert.deepEqual(
      [json.exit, JSON.parse(json.stdout)],
      [
        2,
        {
          code: 'usage',
          message: "There is no command 'xyzzyxyzzy'.",
          exit: 2,
          hint: "'amptcp help' lists the commands.",
        },
      ],
    );
  });
});

test('what the network says cannot steer the terminal', async () => {
  daemon.answers = {
    registrationList: { registrations: [{ ...registrations[1]!, reason: 'evil\x1b[31m\nsite' }] },
    connectionShow: { code: 'not-found', message: 'no \x1b]0;evil\x07' },
  };
  assert.doesNotMatch((await ask('registration', 'list')).stdout, /\x1b|evil.*\n.*site/); // eslint-disable-line no-control-regex
  assert.equal((await ask('connection', 'show', '1')).stderr, 'amptcp: No ?]0;evil?\n');
});
