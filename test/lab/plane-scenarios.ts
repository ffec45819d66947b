// SPDX-License-Identifier: BSD-2-Clause
/* What is done to a LISP data plane on real kernels; plane-world.ts has the picture. Run as `plane-scenarios.js KIND NAME`. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Flow, PathCounters } from '../../src/platform/platform.js';
import { expected, type PlaneKind } from './plane-agent.js';
import {
  buildWorld,
  EID,
  EIDS,
  inside,
  ip,
  mappingOf,
  optionsOf,
  rloc,
  until,
  Agent,
  type Family,
  type World,
} from './plane-world.js';

const MB = 1 << 20;

/** Drops that say something is wrong; the kernel's own multicast chatter into the device is none. */
async function drops(agent: Agent): Promise<Record<string, number>> {
  const { drops } = await agent.call('stats');
  return Object.fromEntries(Object.entries(drops).filter(([cause]) => cause !== 'inner-address'));
}

const byRemote = (paths: PathCounters[], remote: string): PathCounters | undefined =>
  paths.find((path) => path.remote === remote);

async function transfer(world: World, eid: Family, length: number): Promise<void> {
  await world.a.call('upload', EID.a[eid], EID.b[eid], 5000, length);
  assert.deepEqual(await world.b.call('served'), expected(length));
  assert.deepEqual(await world.a.call('download', EID.a[eid], EID.b[eid], 5000, length), expected(length));
}

/** A super-packet is one packet where it is lost, and this many at most where it is counted. */
const MOST_SEGMENTS = 64;

/**
 * What the kernels lost between the two planes. On a busy host that happens: each processor has one queue for the packets
 * of all virtual links (net.core.netdev_max_backlog), of this network and of everyone else's on the machine.
 */
function lostOnTheWay(): number {
  let lost = 0;
  for (const ns of ['a', 'b', 'p1', 'p2']) {
    for (const line of inside(ns, 'cat', '/proc/net/dev').split('\n')) {
      const [, device, fields] = /^ *((?:up|to_)\w+): *(.*)$/.exec(line) ?? [];
      if (device === undefined) continue;
      const numbers = fields!.split(/ +/).map(Number);
      lost += numbers[3]! + numbers[11]!;
    }
    // Sockets of the plane in user space.
    const [names, values] = inside(ns, 'cat', '/proc/net/snmp')
      .split('\n')
      .filter((line) => line.startsWith('Udp:'))
      .map((line) => line.split(' '));
    lost += Number(values![names!.indexOf('RcvbufErrors')]);
  }
  return lost;
}

/** What one side has sent the other has received, path by path, but for what kernels and planes say they lost. */
async function countersAgree({ a, b }: World): Promise<void> {
  let told: unknown;
  await until('counters to agree', async () => {
    const [sent, received] = [await a.call('paths'), await b.call('paths')];
    const apart = sent.flatMap((path) => {
      const far = received.find((one) => one.local === path.remote && one.remote === path.local);
      const packets = path.packetsSent - (far?.packetsReceived ?? 0);
      const bytes = path.bytesSent - (far?.bytesReceived ?? 0);
      return packets === 0 && bytes === 0 ? [] : [{ path, packets, bytes }];
    });
    const causes = [await drops(a), await drops(b)].flatMap((counted) => Object.values(counted));
    const lost = lostOnTheWay() + causes.reduce((sum, count) => sum + count, 0);
    told = { apart, lost };
    const packets = apart.reduce((sum, path) => sum + path.packets, 0);
    return apart.every((path) => path.packets > 0 && path.bytes > 0) && packets <= lost * MOST_SEGMENTS;
  }).catch(async (error: unknown) => {
    console.error(
      JSON.stringify({
        ...(told as object),
        a: [await a.call('stats'), await a.call('programs')],
        b: [await b.call('stats'), await b.call('programs')],
      }),
    );
    throw error;
  });
}

async function families(kind: PlaneKind, family: Family): Promise<void> {
  const world = await buildWorld(kind, family);
  for (const eid of [4, 6] as const) {
    await transfer(world, eid, 20 * MB);
    assert.equal(await world.a.call('datagrams', EID.a[eid], EID.b[eid], 5001, 20, 1200, 20), 20);
  }
  await countersAgree(world);
  assert.deepEqual(await drops(world.a), {});
  assert.deepEqual(await drops(world.b), {});
}

/**
 * LISP as tshark sees it in a provider's namespace. The capture is known to run, and to be complete, by datagrams of lengths of
 * their own that are sent until they are seen in the file.
 */
async function capture(
  world: World,
  provider: 1 | 2,
  during: () => Promise<void>,
  fields: string[],
): Promise<Record<string, string>[]> {
  const folder = mkdtempSync(join(tmpdir(), 'amptcp-plane-'));
  const file = join(folder, 'wire.pcapng');
  const child = spawn(
    'ip',
    [
      'netns',
      'exec',
      `p${provider}`,
      ...['dumpcap', '-q', '-i', 'to_a', '-s', '200', '-w', file, '-f', 'udp port 4341'],
    ],
    { stdio: 'ignore' },
  );
  const tshark = (...args: string[]): string => {
    try {
      return execFileSync('tshark', ['-n', '-r', file, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        maxBuffer: 256 * MB,
      });
    } catch (error) {
      // A file that is still being written ends in mid-packet, and does not exist at first.
      return (error as { stdout?: string }).stdout ?? '';
    }
  };
  const seen = (length: number): Promise<void> =>
    until(
      'a datagram in the capture',
      async () => {
        await world.a.call('datagrams', EID.a[4], EID.b[4], 5001, 1, length, 1);
        return tshark('-Y', `udp.length == ${length + 8}`).trim() !== '';
      },
      30_000,
    );
  await seen(76);
  await during();
  await seen(77);
  const over = new Promise((resolve) => child.on('close', resolve));
  child.kill('SIGINT');
  await over;
  const text = tshark('-T', 'fields', '-E', 'occurrence=a', ...fields.flatMap((field) => ['-e', field]));
  rmSync(folder, { recursive: true });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      return Object.fromEntries(fields.map((field, index) => [field, values[index] ?? '']));
    });
}

const only = (site: 'a' | 'b', provider: 1 | 2, family: Family) =>
  mappingOf(site, 4, family, {
    locators: [{ rloc: rloc(site, provider, family), priority: 1, weight: 100, reachable: true }],
  });

export const scenarios: Record<string, (kind: PlaneKind) => Promise<void>> = {
  'TCP and UDP over IPv4 RLOCs': (kind) => families(kind, 4),
  'TCP and UDP over IPv6 RLOCs': (kind) => families(kind, 6),

  'a pin moves a flow in mid-transfer, answers follow': async (kind) => {
    const world = await buildWorld(kind, 4);
    const flow: Flow = {
      local: { address: EID.a[4], port: 40_000 },
      remote: { address: EID.b[4], port: 5000 },
    };
    const path = (provider: 1 | 2) => ({
      local: rloc('a', provider, 4),
      remote: rloc('b', provider, 4),
    });
    await world.a.call('pin', flow, path(1));
    const length = 400 * MB;
    const done = world.a.call('upload', EID.a[4], EID.b[4], 5000, length, 40_000);
    await until('data on the first path', async () => (await world.b.call('progress')) > 10 * MB, 30_000);
    const before = await world.a.call('paths');
    assert.ok((byRemote(before, path(1).remote)?.bytesSent ?? 0) > 10 * MB);
    assert.equal(byRemote(before, path(2).remote)?.bytesSent ?? 0, 0);
    await world.a.call('pin', flow, path(2));
    await until(
      'data on the other path, and its answers',
      async () => {
        const now = byRemote(await world.a.call('paths'), path(2).remote);
        return (now?.bytesSent ?? 0) > 10 * MB && (now?.packetsReceived ?? 0) > 10;
      },
      30_000,
    );
    const moved = byRemote(await world.a.call('paths'), path(1).remote)!.packetsSent;
    await done;
    assert.deepEqual(await world.b.call('served'), expected(length));
    assert.equal(byRemote(await world.a.call('paths'), path(1).remote)!.packetsSent, moved);
    const pins = await world.b.call('listPins');
    const gleaned = pins.find(({ flow: known }) => known.remote.port === 40_000);
    assert.equal(gleaned?.gleaned, true);
    assert.deepEqual(gleaned?.path, { local: path(2).remote, remote: path(2).local });
  },

  'weights share flows, priorities and path states decide': async (kind) => {
    const world = await buildWorld(kind, 4);
    // Ports come round again: a pin gleaned from an earlier answer would speak for the map-cache.
    await world.a.call('updatePlane', { ...world.options.a, glean: false });
    const locator = (provider: 1 | 2, priority: number, weight: number) => ({
      rloc: rloc('b', provider, 4),
      priority,
      weight,
      reachable: true,
    });
    let last = new Map<string, number>();
    const sent = async (count: number): Promise<number> => {
      await world.a.call('datagrams', EID.a[4], EID.b[4], 5001, count, 100, count);
      const now = new Map<string, number>();
      for (const one of await world.a.call('paths'))
        now.set(one.remote, (now.get(one.remote) ?? 0) + one.packetsSent);
      const first = rloc('b', 1, 4);
      const share = (now.get(first) ?? 0) - (last.get(first) ?? 0);
      last = now;
      return share;
    };
    await world.a.call(
      'setMapping',
      mappingOf('b', 4, 4, { locators: [locator(1, 1, 75), locator(2, 1, 25)] }),
    );
    const share = await sent(1000);
    assert.ok(share > 700 && share < 800, `3:1 gave ${share} of 1000`);
    await world.a.call(
      'setMapping',
      mappingOf('b', 4, 4, { locators: [locator(1, 1, 1), locator(2, 2, 99)] }),
    );
    assert.equal(await sent(50), 50);
    for (const provider of [1, 2] as const)
      await world.a.call('setPathState', { local: rloc('a', provider, 4), remote: rloc('b', 1, 4) }, false);
    assert.equal(await sent(50), 0);
    for (const provider of [1, 2] as const)
      await world.a.call('setPathState', { local: rloc('a', provider, 4), remote: rloc('b', 1, 4) }, true);
    assert.equal(await sent(50), 50);
  },

  'what is on the wire: TTL, DSCP, ECN, source ports, header': async (kind) => {
    const world = await buildWorld(kind, 4);
    await world.a.call('setMapping', only('b', 1, 4));
    inside('a', 'sysctl', '-qw', 'net.ipv4.tcp_ecn=1');
    inside('a', 'nft', 'add table ip t; add chain ip t out { type route hook output priority mangle; }');
    inside('a', 'nft', 'add rule ip t out udp dport 5001 ip dscp set af11');
    const packets = await capture(
      world,
      1,
      async () => {
        await world.a.call('datagrams', EID.a[4], EID.b[4], 5001, 40, 100, 40, 33);
        await world.a.call('upload', EID.a[4], EID.b[4], 5000, 2 * MB);
      },
      [
        '_ws.malformed',
        'frame.protocols',
        'ip.src',
        'ip.ttl',
        'ip.dsfield',
        'ip.flags.df',
        'udp.srcport',
        'udp.length',
        'lisp-data.flags',
        'tcp.flags',
      ],
    );
    assert.ok(packets.length > 50, `${packets.length} packets seen`);
    assert.deepEqual([...new Set(packets.map((packet) => packet['_ws.malformed']))], ['']);
    const mine = packets.filter((packet) => packet['ip.src']!.startsWith(rloc('a', 1, 4)));
    const udp = mine.filter((packet) => packet['udp.length']!.endsWith(',108'));
    // Small packets of one outer flow may leave as one super-packet, of which a capture on veth shows the first.
    assert.ok(udp.length >= 20, `only ${udp.length} of 40 seen`);
    for (const packet of udp) {
      assert.equal(packet['ip.ttl'], '33,33');
      assert.equal(packet['ip.dsfield'], '0x28,0x28');
      assert.match(packet['ip.flags.df']!, /^(1|True)/);
      assert.ok(Number(packet['udp.srcport']!.split(',')[0]) >= 49_152);
    }
    const ports = new Set(udp.map((packet) => packet['udp.srcport']!.split(',')[0]));
    assert.ok(ports.size >= 4, `only ${ports.size} source ports for 40 flows`);
    // ECT(0) of TCP data shows outside.
    const marked = mine.filter(
      (packet) => packet['tcp.flags'] !== '' && packet['ip.dsfield'] === '0x02,0x02',
    );
    assert.ok(marked.length > 0, 'no ECN-capable TCP packet seen');
  },

  'congestion marked on the way reaches the receiver': async (kind) => {
    const world = await buildWorld(kind, 4);
    await world.a.call('setMapping', only('b', 1, 4));
    for (const site of ['a', 'b']) inside(site, 'sysctl', '-qw', 'net.ipv4.tcp_ecn=1');
    inside('p1', 'nft', 'add table ip t; add chain ip t forwarded { type filter hook forward priority 0; }');
    inside(
      'p1',
      'nft',
      'add rule ip t forwarded oif to_b ip ecn ect0 numgen random mod 10 == 0 ip ecn set ce',
    );
    await world.a.call('upload', EID.a[4], EID.b[4], 5000, 20 * MB);
    assert.deepEqual(await world.b.call('served'), expected(20 * MB));
    const [names, values] = inside('b', 'cat', '/proc/net/netstat')
      .split('\n')
      .filter((line) => line.startsWith('IpExt:'))
      .map((line) => line.split(' '));
    assert.ok(Number(values![names!.indexOf('InCEPkts')]) > 0, 'no CE mark arrived');
  },

  'a path gets narrower in mid-transfer': async (kind) => {
    for (const family of [4] as const) {
      const world = await buildWorld(kind, family);
      await world.a.call('setMapping', only('b', 1, family));
      const length = 200 * MB;
      const done = world.a.call('upload', EID.a[4], EID.b[4], 5000, length);
      await until('data', async () => (await world.b.call('progress')) > 5 * MB, 30_000);
      ip('-n', 'p1', 'link', 'set', 'to_b', 'mtu', '1300');
      await done;
      assert.deepEqual(await world.b.call('served'), expected(length));
      const event = world.a.events.find(({ type }) => type === 'path-mtu');
      assert.ok(event?.type === 'path-mtu', 'no path-mtu event');
      assert.equal(event.mtu, 1300 - 36);
      assert.equal(event.path.remote, rloc('b', 1, family));
    }
  },

  'a mapping goes and comes again in mid-transfer': async (kind) => {
    const world = await buildWorld(kind, 4);
    const length = 200 * MB;
    const done = world.a.call('upload', EID.a[4], EID.b[4], 5000, length);
    for (let times = 1; times <= 5; times++) {
      await until('data', async () => (await world.b.call('progress')) > times * 10 * MB, 30_000);
      // Until the other site's kernel has the mapping again, super-packets are taken in by user space there.
      await Promise.all([
        world.b.call('deleteMapping', 0, EIDS.a[4]),
        world.b.call('setMapping', mappingOf('a', 4, 4)),
      ]);
    }
    await done;
    assert.deepEqual(await world.b.call('served'), expected(length));
    await countersAgree(world);
  },

  'packets wait for their mapping, both ways': async (kind) => {
    const world = await buildWorld(kind, 4, false);
    const done = world.a.call('datagrams', EID.a[4], EID.b[4], 5001, 1, 100, 1);
    await until('a miss', () => world.a.events.some(({ type }) => type === 'miss'));
    assert.deepEqual(
      world.a.events.find(({ type }) => type === 'miss'),
      { type: 'miss', iid: 0, eid: EID.b[4], reason: 'encapsulate' },
    );
    await world.a.call('setMapping', mappingOf('b', 4, 4));
    await until('a miss of the source check', () => world.b.events.some(({ type }) => type === 'miss'));
    assert.deepEqual(
      world.b.events.find(({ type }) => type === 'miss'),
      { type: 'miss', iid: 0, eid: EID.a[4], reason: 'source-check' },
    );
    await world.b.call('setMapping', mappingOf('a', 4, 4));
    assert.equal(await done, 1);
    // And what no mapping comes for is given up, and counted.
    await world.a.call('deleteMapping', 0, EIDS.b[4]);
    await world.a.call('datagrams', EID.a[4], EID.b[4], 5001, 50, 100, 0);
    await until('the queue to be empty', async () => (await world.a.call('stats')).queued === 0);
    const { drops: counted } = await world.a.call('stats');
    assert.equal((counted['queue-full'] ?? 0) + (counted['queue-expired'] ?? 0), 50);
  },

  'what must not come in stays out': async (kind) => {
    const world = await buildWorld(kind, 4);
    const { b } = world;
    const lisp = '0000000000000000';
    const udp = (source: string, destination: string): string => {
      const header = Buffer.from(`450000200001000040110000${source}${destination}`, 'hex');
      let sum = 0;
      for (let i = 0; i < 20; i += 2) sum += header.readUInt16BE(i);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
      header.writeUInt16BE(~sum & 0xffff, 10);
      return header.toString('hex') + '13881389000c0000deadbeef';
    };
    const [eidA, eidB, elsewhere] = ['0a0a0002', 'c612010a', '01020304'];
    const send = (...hex: string[]): Promise<void> =>
      world.a.call('spray', rloc('a', 1, 4), rloc('b', 1, 4), 4341, hex);
    await send(lisp + udp(eidA!, eidB!));
    // Nobody listens at its source, so an ICMP error of the other site may follow.
    await until('the good one', async () => (await b.call('stats')).decapsulated >= 1);
    const whole = lisp + udp(eidA!, eidB!);
    await send(...Array.from({ length: whole.length / 2 - 1 }, (_, i) => whole.slice(0, (i + 1) * 2)));
    await send(lisp + udp(eidA!, elsewhere!));
    await send('0800000000000500' + udp(eidA!, eidB!));
    await send('0100000000000000' + udp(eidA!, eidB!));
    await send(lisp + udp(eidB!, eidB!));
    await send(lisp + '55'.repeat(40));
    // An RLOC that is none of the source's mapping.
    await b.call('setMapping', only('a', 2, 4));
    await send(lisp + udp(eidA!, eidB!));
    const want = {
      'outer-truncated': 7,
      'inner-truncated': whole.length / 2 - 8,
      'not-local': 1,
      iid: 1,
      'lisp-encrypted': 1,
      'source-local': 1,
      'inner-version': 1,
      'source-rloc': 1,
    };
    await until(
      'all to be counted',
      async () =>
        JSON.stringify(Object.entries(await drops(b)).sort()) === JSON.stringify(Object.entries(want).sort()),
    ).catch(async () => assert.deepEqual(await drops(b), want));
    // None the worse for it.
    await b.call('setMapping', mappingOf('a', 4, 4));
    await transfer(world, 4, MB);
  },

  'RLOCs, EIDs and routes change while it runs': async (kind) => {
    const world = await buildWorld(kind, 4);
    await transfer(world, 4, MB);
    // To IPv6 RLOCs, by way of both.
    for (const site of ['a', 'b'] as const) await world[site].call('updatePlane', optionsOf(site, 'both'));
    await transfer(world, 4, MB);
    await world.a.call('setMapping', mappingOf('b', 4, 6));
    await world.b.call('setMapping', mappingOf('a', 4, 6));
    await transfer(world, 4, MB);
    for (const site of ['a', 'b'] as const) await world[site].call('updatePlane', optionsOf(site, 6));
    await transfer(world, 4, MB);
    const sent = (await world.a.call('paths')).filter((path) => path.remote.includes(':'));
    assert.ok(sent.some((path) => path.packetsSent > 0));
    const routes = inside('a', 'ip', 'route');
    assert.match(routes, /198\.18\.0\.0\/16 dev lisp0/);
    await world.a.call('updatePlane', { ...optionsOf('a', 6), routes: [] });
    assert.doesNotMatch(inside('a', 'ip', 'route'), /lisp0/);
    await world.a.call('stopPlane');
    assert.doesNotMatch(inside('a', 'ip', 'link'), /lisp0/);
  },

  'nothing stays at the devices': async (kind) => {
    const world = await buildWorld(kind, 4);
    await transfer(world, 4, 1 * MB);
    const attached = (site: string): string =>
      [
        'qdisc show dev up1',
        'filter show dev up1 ingress',
        'qdisc show dev up2',
        'filter show dev up2 ingress',
      ]
        .map((question) => inside(site, 'tc', ...question.split(' ')))
        .join('')
        .split('\n')
        .filter((line) => /clsact|amptcp/.test(line))
        .join('\n');
    if (kind === 'clsact') assert.match(attached('a'), /clsact[^]*amptcp/);
    else assert.equal(attached('a'), '');
    await world.a.call('stopPlane');
    assert.equal(attached('a'), '');
    // Killed, it cannot take a filter back: who comes next does. Other people's filters stay, and what they are in.
    inside('b', 'tc', 'qdisc', 'replace', 'dev', 'up2', 'clsact');
    const [other, never] = ['tc filter add dev up2 egress prio 7 bpf bytecode', '1,6 0 0 0'];
    inside('b', ...other.split(' '), never);
    world.b.process.kill('SIGKILL');
    await until('its end', () => world.b.process.exitCode !== null || world.b.process.signalCode !== null);
    if (kind === 'clsact') assert.match(attached('b'), /amptcp/);
    const next = await new Agent('b').ready();
    await next.call('clean');
    assert.match(attached('b'), /^qdisc clsact ffff: parent ffff:fff1 *$/);
    assert.match(inside('b', ...'tc filter show dev up2 egress'.split(' ')), /pref 7 bpf/);
    next.end();
  },

  'a mapping that leads back into the device': async (kind) => {
    const world = await buildWorld(kind, 4);
    await world.a.call(
      'setMapping',
      mappingOf('b', 4, 4, { locators: [{ rloc: '198.18.9.9', priority: 1, weight: 1, reachable: true }] }),
    );
    await world.a.call('datagrams', EID.a[4], EID.b[4], 5001, 10, 100, 0);
    await until('the drops', async () => (await drops(world.a))['recursion'] === 10);
  },
};

if (process.argv[1]?.endsWith('plane-scenarios.js')) {
  const [kind, name] = process.argv.slice(2) as [PlaneKind, string];
  try {
    await scenarios[name]!(kind);
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
