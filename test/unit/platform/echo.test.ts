// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pingCommand, pingOutcome, searchMtu, type EchoOutcome } from '../../../src/platform/echo.js';

/** A way that carries up to `mtu` octets; what it does with more. */
function way(mtu: number, beyond: EchoOutcome) {
  const asked: number[] = [];
  return {
    asked,
    echo: (octets: number): Promise<EchoOutcome> => {
      asked.push(octets);
      return Promise.resolve(octets <= mtu ? { type: 'answered' } : beyond);
    },
  };
}

describe('the MTU of a way', () => {
  it('takes two questions where all gets through', async () => {
    const { asked, echo } = way(1500, { type: 'too-big' });
    assert.deepEqual(await searchMtu(4, 1500, echo), { state: 'measured', mtu: 1500, blackHole: false });
    assert.deepEqual(asked, [576, 1500]);
  });

  it('takes a router at its word, and tries it', async () => {
    const { asked, echo } = way(1300, { type: 'too-big', mtu: 1300 });
    assert.deepEqual(await searchMtu(4, 1500, echo), { state: 'measured', mtu: 1300, blackHole: false });
    assert.deepEqual(asked, [576, 1500, 1300]);
  });

  it('goes on where a second router is narrower still', async () => {
    const named = [1400, 1300];
    const echo = (octets: number): Promise<EchoOutcome> =>
      Promise.resolve(
        octets <= 1300 ? { type: 'answered' } : { type: 'too-big', mtu: named.shift() ?? 1300 },
      );
    assert.deepEqual(await searchMtu(6, 1500, echo), { state: 'measured', mtu: 1300, blackHole: false });
  });

  it('is found by halving where no router speaks, and called a black hole', async () => {
    for (let mtu = 576; mtu < 1500; mtu += 4) {
      const { asked, echo } = way(mtu, { type: 'silent' });
      assert.deepEqual(await searchMtu(4, 1500, echo), { state: 'measured', mtu, blackHole: true });
      assert.ok(asked.length <= 20, `${asked.length} questions`);
    }
  });

  it('is found by halving where a router names nonsense', async () => {
    for (const mtu of [0, 68, 576, 1500, 9000]) {
      const found = await searchMtu(4, 1500, way(1400, { type: 'too-big', mtu }).echo);
      assert.deepEqual(found, { state: 'measured', mtu: 1400, blackHole: false }, String(mtu));
    }
  });

  it('is unknown where echo is not answered, cannot be sent, or one is lost for good', async () => {
    assert.deepEqual(await searchMtu(4, 1500, way(0, { type: 'silent' }).echo), {
      state: 'unknown',
      reason: 'no answer to ICMP echo',
    });
    assert.deepEqual(await searchMtu(4, 1500, way(0, { type: 'failed', reason: 'no ping' }).echo), {
      state: 'unknown',
      reason: 'no ping',
    });
    assert.deepEqual(await searchMtu(6, 1500, way(0, { type: 'too-big' }).echo), {
      state: 'unknown',
      reason: 'not even a packet of 1280 octets fits',
    });
  });

  it('does not believe one lost packet', async () => {
    let lose = true;
    const echo = (octets: number): Promise<EchoOutcome> => {
      const lost = octets === 1500 && lose;
      if (lost) lose = false;
      return Promise.resolve(lost ? { type: 'silent' } : { type: 'answered' });
    };
    assert.deepEqual(await searchMtu(4, 1500, echo), { state: 'measured', mtu: 1500, blackHole: false });
  });
});

describe('ping', () => {
  it('is told source, size without headers, and not to let it be cut', () => {
    const v4 = { local: '203.0.113.2', remote: '203.0.123.2' };
    const v6 = { local: '2001:db8:113::2', remote: '2001:db8:123::2' };
    const text = (system: 'linux' | 'freebsd', path: typeof v4): string =>
      pingCommand(system, path, 1500).join(' ');
    assert.equal(text('linux', v4), 'ping -4 -n -c 1 -W 1 -M do -s 1472 -I 203.0.113.2 203.0.123.2');
    assert.equal(text('linux', v6), 'ping -6 -n -c 1 -W 1 -M do -s 1452 -I 2001:db8:113::2 2001:db8:123::2');
    assert.equal(text('freebsd', v4), 'ping -4 -n -c 1 -W 1000 -D -s 1472 -S 203.0.113.2 203.0.123.2');
    assert.equal(
      text('freebsd', v6),
      'ping -6 -n -c 1 -W 1000 -u -D -s 1452 -S 2001:db8:113::2 2001:db8:123::2',
    );
  });

  it('is understood', () => {
    const lost = '1 packets transmitted, 0 received, 100% packet loss, time 0ms';
    for (const [status, said, outcome] of [
      [0, '1 packets transmitted, 1 received, 0% packet loss', { type: 'answered' }],
      [1, lost, { type: 'silent' }],
      [2, '1 packets transmitted, 0 packets received, 100.0% packet loss', { type: 'silent' }],
      [1, `ping: local error: message too long, mtu=1300\n${lost}`, { type: 'too-big', mtu: 1300 }],
      [1, `ping: sendmsg: Message too long\n${lost}`, { type: 'too-big' }],
      [
        1,
        `From 203.0.113.1 icmp_seq=1 Frag needed and DF set (mtu = 1300)\n${lost}`,
        { type: 'too-big', mtu: 1300 },
      ],
      [1, `From 2001:db8::1 icmp_seq=1 Packet too big: mtu=1300\n${lost}`, { type: 'too-big', mtu: 1300 }],
      [2, '36 bytes from 203.0.113.1: frag needed and DF set (MTU 1300)\n', { type: 'too-big', mtu: 1300 }],
      [2, 'new path MTU (1300) is notified\n', { type: 'too-big', mtu: 1300 }],
      [2, 'ping: invalid option -- M', { type: 'failed', reason: 'ping: invalid option -- M' }],
      [null, '', { type: 'failed', reason: 'ping ended with status null' }],
    ] as const)
      assert.deepEqual(pingOutcome(status, said), outcome, said);
  });
});
