// SPDX-License-Identifier: BSD-2-Clause

/** Every command of `amptcp` against the lab's daemons at work. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { PORTS, type DaemonHost } from '../../src/lab/configs.js';
import { waitFor } from '../../src/lab/process.js';
import { PROVIDER_DEVICE, addresses, provider } from '../../src/lab/topology.js';
import { amptcp } from '../unit/cli/harness.js';
import { connection, established, sharedLab, skip, type Connection } from './support.js';

const EID = '198.18.1.0/24';
const SERVER = addresses.server(4);
const remote = (index: number): string => addresses.rloc(4, 1, index);
const local = (index: number): string => addresses.rloc(4, 0, index);

describe('amptcp', { skip }, () => {
  const lab = sharedLab({ rlocs: 2, rateMbps: 60 });
  const ask = (host: DaemonHost, ...argv: string[]) => amptcp(...argv, '--socket', lab().socket(host));
  const json = async (...argv: string[]) => {
    const { exit, stdout } = await ask('gateway', ...argv, '--json');
    return { exit, value: JSON.parse(stdout) };
  };
  /** A command that is expected to do what it is told. */
  const text = async (host: DaemonHost, ...argv: string[]): Promise<string> => {
    const { exit, stdout, stderr } = await ask(host, ...argv);
    assert.deepEqual([exit, stderr], [0, ''], argv.join(' '));
    return stdout;
  };
  const refused = async (exit: number, message: RegExp, ...argv: string[]): Promise<void> => {
    const result = await ask('gateway', ...argv);
    assert.deepEqual([result.exit, result.stdout], [exit, ''], argv.join(' '));
    assert.match(result.stderr, message);
  };

  it('status, of each role', async () => {
    const gateway = await text('gateway', 'status');
    assert.match(gateway, /^amptcpd +\d+\.\d+\.\d+, running, pid \d+, on linux\nroles +access\n/);
    assert.match(gateway, new RegExp(`^${local(1)} +up1 +1 +50$`, 'm'));
    assert.match(await text('dc1', 'status'), /^roles +xtr$/m);
    assert.match(await text('map', 'status'), /^roles +map-server$/m);
    const { value } = await json('status');
    assert.equal(value.state, 'running');
  });

  it('mapping lookup asks the mapping system, and then the map-cache', async () => {
    await text('gateway', 'mapping', 'flush');
    const first = await json('mapping', 'lookup', SERVER);
    assert.deepEqual(
      [first.exit, first.value.asked, first.value.status, first.value.mapping.eid],
      [0, true, 'found', EID],
    );
    assert.match(await text('gateway', 'mapping', 'lookup', SERVER), /^Answered from the map-cache\./);
    assert.match(
      await text('gateway', 'mapping', 'list'),
      new RegExp(`^ +0 +${EID} +${remote(1)} .*map-reply`, 'm'),
    );
    const none = await json('mapping', 'lookup', '10.99.0.1');
    assert.deepEqual([none.exit, none.value.status], [0, 'negative']);
  });

  it('mapping add, show, remove', async () => {
    await text('gateway', 'mapping', 'add', '10.98.0.0/16', `${remote(1)},1,70`, `${remote(2)},1,30`);
    assert.match(await text('gateway', 'mapping', 'show', '10.98.0.0/16'), /^source +cli$/m);
    await text('gateway', 'mapping', 'remove', '10.98.0.0/16');
    await refused(5, /There is no mapping for 10\.98\.0\.0\/16/, 'mapping', 'show', '10.98.0.0/16');
    await refused(5, /There is no mapping/, 'mapping', 'remove', '10.98.0.0/16');
    await refused(2, /is no IP prefix/, 'mapping', 'add', 'nonsense', remote(1));
  });

  it('registration list', async () => {
    const shown = await text('map', 'registration', 'list');
    assert.match(shown, new RegExp(`${EID} +registered +${remote(1)}, ${remote(2)}`));
    await refused(6, /map-server/, 'registration', 'list');
  });

  it('path probe, path list', async () => {
    await text('gateway', 'mapping', 'lookup', SERVER);
    assert.match(
      await text('gateway', 'path', 'probe', remote(2)),
      new RegExp(`^${local(1)} +${remote(2)} +up `, 'm'),
    );
    assert.match(await text('gateway', 'path', 'list'), new RegExp(`^${local(2)} +${remote(2)} +up `, 'm'));
    await refused(5, /No path leads to 192\.0\.2\.99/, 'path', 'probe', '192.0.2.99');
  });

  it('doctor, of the way to a server with MPTCP, one without, and none', async () => {
    // Of a destination that nobody has asked for yet, too.
    await text('gateway', 'mapping', 'flush');
    const good = await ask('gateway', 'doctor', '--path', `${SERVER}:${PORTS.http}`);
    assert.equal(good.exit, 0, good.stdout + good.stderr);
    for (const index of [1, 2]) {
      const way = `over ${local(index)} -> ${remote(index)}`;
      assert.match(good.stdout, new RegExp(`^ok +mptcp +${way} the server answers with MPTCP$`, 'm'));
      assert.match(good.stdout, new RegExp(`^ok +mp_join +${way} the server takes a further subflow$`, 'm'));
      assert.match(good.stdout, new RegExp(`^${local(index)} +${remote(index)} +up .* 1464 +yes +yes$`, 'm'));
    }
    assert.match(
      good.stdout,
      /^ok +mtu +inner packets of the device's 1464 octets get through on 4 of 4 paths$/m,
    );
    const plain = await ask('gateway', 'doctor', '--path', `${SERVER}:${PORTS.plain}`);
    assert.equal(plain.exit, 7);
    assert.match(plain.stdout, /^FAIL +mptcp .*plain TCP$/m);
    const nobody = await ask('gateway', 'doctor', '--path', `${SERVER}:${PORTS.closed}`);
    assert.match(nobody.stdout, /^FAIL +mptcp .*ECONNREFUSED$/m);
  });

  it('doctor, of a way that is narrower, silently so, and without ICMP', async () => {
    const first = provider(1);
    const way = `over ${local(1)} -> ${remote(1)}`;
    const examine = async (): Promise<{ exit: number; mtu: (number | undefined)[]; stdout: string }> => {
      const argv = ['doctor', '--path', `${SERVER}:${PORTS.http}`];
      const { exit, value } = await json(...argv);
      const { stdout } = await ask('gateway', ...argv);
      const mtu = [1, 2].map(
        (index) =>
          value.paths.find(
            (path: { local: string; remote: string }) =>
              path.local === local(index) && path.remote === remote(index),
          ).mtu,
      );
      return { exit, mtu, stdout };
    };
    const icmp = (rule: string): Promise<unknown> =>
      lab().run(first, ['nft', '-f', '-'], {
        input: `table inet silent {
  chain forward { type filter hook forward priority -300; ${rule}; }
  chain output { type filter hook output priority -300; ${rule}; }
}`,
      });
    const width = (octets: number): Promise<unknown> =>
      lab().run(first, ['ip', 'link', 'set', PROVIDER_DEVICE.dc1, 'mtu', String(octets)]);
    try {
      // What a path's MTU was is remembered by the kernel for minutes: silent first.
      await icmp('icmp type destination-unreachable drop');
      await width(1400);
      const hole = await examine();
      assert.deepEqual([hole.exit, hole.mtu], [7, [1364, 1464]], hole.stdout);
      assert.match(
        hole.stdout,
        new RegExp(`^FAIL +mtu +${way} .* 1364 octets, .* vanish without a word$`, 'm'),
      );
      await lab().run(first, ['nft', 'delete', 'table', 'inet', 'silent']);
      await icmp('icmp type echo-request drop');
      const blocked = await examine();
      assert.deepEqual([blocked.exit, blocked.mtu], [0, [undefined, 1464]], blocked.stdout);
      assert.match(blocked.stdout, new RegExp(`^ok +mtu +${way} unknown: no answer to ICMP echo$`, 'm'));
      await lab().run(first, ['nft', 'delete', 'table', 'inet', 'silent']);
      const narrow = await examine();
      assert.deepEqual([narrow.exit, narrow.mtu], [0, [1364, 1464]], narrow.stdout);
      assert.match(narrow.stdout, new RegExp(`^ok +mtu +${way} .* 1364 octets, .*; routers say so`, 'm'));
    } finally {
      await width(1500);
      await lab().run('gateway', ['ip', 'route', 'flush', 'cache']);
    }
  });

  it('connection and subflow, of a download that runs', async () => {
    const ended = lab()
      .transfer({ direction: 'down', bytes: 500_000_000, curl: ['--limit-rate', '2M'] })
      .then(
        () => 'came to its end',
        () => 'was reset',
      );
    const { id } = await connection(lab(), PORTS.http, (found) => established(found) === 2);
    const number = String(id);
    const subflows = async (): Promise<Connection['subflows']> =>
      (await json('subflow', 'list', number)).value.subflows.filter(
        ({ state }: { state: string }) => state === 'established',
      );

    assert.match(
      await text('gateway', 'connection', 'list'),
      new RegExp(`^ *${number} .* established +mptcp +2 `, 'm'),
    );
    const shown = await text('gateway', 'connection', 'show', number);
    for (const index of [1, 2]) {
      assert.match(shown, new RegExp(` ${local(index)} +${remote(index)} +established `), shown);
    }

    const second = (await subflows()).find(({ path }) => path?.remote === remote(2));
    assert.ok(second);
    await text('gateway', 'subflow', 'remove', number, String(second.id));
    await waitFor('one subflow to be left', async () => (await subflows()).length === 1, 5000);
    await refused(5, /no subflow 99/, 'subflow', 'remove', number, '99');
    await refused(2, /is no RLOC of/, 'subflow', 'add', number, '192.0.2.99');
    await text('gateway', 'subflow', 'add', number, remote(2), '--local', local(2));
    await waitFor('the subflow to be back', async () => (await subflows()).length === 2, 5000);
    await refused(6, /on that path already/, 'subflow', 'add', number, remote(2), '--local', local(2));

    assert.match(await text('gateway', 'connection', 'kill', number), /^Reset connection/);
    assert.equal(await ended, 'was reset');
    await waitFor(
      'the connection to be gone',
      async () => (await json('connection', 'show', number)).exit === 5,
      5000,
    );
    await refused(5, /There is no connection/, 'connection', 'kill', number);
  });

  it('a mapping without RLOCs: a plain xTR forwards natively', async () => {
    const eid = '192.0.2.14/32';
    const address = '192.0.2.14';
    // An address among those that dc1 routes into LISP, which only the Internet knows.
    await lab().run('web', ['ip', 'addr', 'add', eid, 'dev', 'lo']);
    await lab().run('exchange', ['ip', 'route', 'add', eid, 'via', addresses.web(4)]);
    const answers = async (): Promise<boolean> =>
      (await lab().run('server', ['ping', '-c', '1', '-W', '1', address], { tolerant: true })).status === 0;
    const routed = async (): Promise<string> =>
      (await lab().run('dc1', ['ip', '-4', 'route', 'get', address])).stdout;
    assert.match(await routed(), / dev lisp0 /);
    await lab().reload('dc1', { extra: { dc1: `[[lisp.mapping]]\neid = "${eid}"\nrlocs = []` } });
    await waitFor('an answer by the native way', answers, 10_000);
    assert.doesNotMatch(await routed(), /lisp0/);
    const others = addresses.natPrefix(4).replace(/\.0\/.*/, '.1');
    assert.match((await lab().run('dc1', ['ip', '-4', 'route', 'get', others])).stdout, / dev lisp0 /);
    await lab().reload('dc1');
    await waitFor('the route to be back', async () => / dev lisp0 /.test(await routed()), 5000);
    assert.equal((await lab().transfer({ direction: 'down', bytes: 1_000_000 })).sha256Match, true);
  });

  it('bypass list', async () => {
    assert.equal((await json('bypass', 'list')).exit, 0);
  });

  it('config show and reload; a file with an error changes nothing', async () => {
    const file = lab().configPath('gateway');
    const good = readFileSync(file, 'utf8');
    assert.equal(await text('gateway', 'config', 'reload'), 'Nothing has changed.\n');
    const before = await json('config', 'show');
    writeFileSync(file, good.replace('weight = 50', 'weight = 500'));
    try {
      const result = await ask('gateway', 'config', 'reload');
      assert.equal(result.exit, 7);
      assert.match(
        result.stderr,
        /nothing was changed:\n {2}line \d+, rloc\[0\]\.weight: expected an integer from 0 to 100/,
      );
      assert.equal((await amptcp('config', 'check', file)).exit, 7);
    } finally {
      writeFileSync(file, good);
    }
    assert.deepEqual((await json('config', 'show')).value.config, before.value.config);
    assert.doesNotMatch(await text('gateway', 'config', 'show'), /three may keep a secret/);
  });

  it('a daemon that is gone is said to be gone', async () => {
    await lab().stopDaemon('gateway');
    await refused(3, /The daemon is not running/, 'status');
  });
});
