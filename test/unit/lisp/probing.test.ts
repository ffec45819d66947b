// SPDX-License-Identifier: BSD-2-Clause

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeMessage } from '../../../src/lisp/codec/messages.js';
import { Counters, type ControlClock, type ControlDatagram } from '../../../src/lisp/environment.js';
import type { PathChange } from '../../../src/lisp/mapping-system.js';
import { Prober } from '../../../src/lisp/probing.js';

/** A loop as Node's: timers that are due run first, what has come in meanwhile is read after them. */
class Loop implements ControlClock {
  private time = 0;
  private readonly timers = new Set<{ due: number; callback: () => void }>();
  private socket: { arrives: number; read: () => void }[] = [];

  now(): number {
    return this.time;
  }

  setTimeout(callback: () => void, ms: number): unknown {
    const timer = { due: this.time + ms, callback };
    this.timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.timers.delete(timer as { due: number; callback: () => void });
  }

  /** A datagram that reaches the socket in a millisecond. */
  arrive(read: () => void): void {
    this.socket.push({ arrives: this.time + 1, read });
  }

  /** One turn, `ms` after the last: as long as the process had the processor for nothing. */
  turn(ms: number): void {
    this.time += ms;
    for (const timer of [...this.timers].sort((a, b) => a.due - b.due))
      if (timer.due <= this.time && this.timers.delete(timer)) timer.callback();
    const arrived = this.socket.filter(({ arrives }) => arrives <= this.time);
    this.socket = this.socket.filter((datagram) => !arrived.includes(datagram));
    for (const { read } of arrived) read();
  }
}

const PATHS = ['203.0.113.2', '203.0.114.2'].map((local) => ({ local, remote: '203.0.123.2' }));

function probing(answers: { on: boolean }): {
  loop: Loop;
  prober: Prober;
  changes: string[];
  counters: Counters;
} {
  const loop = new Loop();
  const counters = new Counters();
  const changes: string[] = [];
  let random = 0;
  const prober: Prober = new Prober(
    {
      clock: loop,
      counters,
      random: (octets) => new Uint8Array(octets).fill(++random),
      wallClock: () => 0,
      log: () => undefined,
      send(datagram: ControlDatagram): void {
        const message = decodeMessage(datagram.data);
        assert.ok(message.type === 'map-request');
        if (!answers.on) return;
        loop.arrive(() => {
          prober.reply(
            { type: 'map-reply', probe: true, echoNonce: false, nonce: message.nonce, records: [] },
            { ...datagram, data: new Uint8Array() },
          );
        });
      },
    },
    { intervalMs: 1000, timeoutMs: 600, failures: 2 },
    ({ status }: PathChange) => changes.push(`${status.local} ${status.state}`),
  );
  prober.sync(new Map(PATHS.map((path) => [`${path.local} ${path.remote}`, { path, live: true }])));
  for (let turn = 0; turn < 50; turn++) loop.turn(10);
  return { loop, prober, changes, counters };
}

describe('RLOC-probing', () => {
  it('does not take its own lateness for the silence of the other end', () => {
    const { loop, changes, counters } = probing({ on: true });
    assert.deepEqual(
      changes.splice(0),
      PATHS.map(({ local }) => `${local} up`),
    );
    // A processor that others have most of the time: a turn every 0.7 s, then none for some seconds.
    for (const pause of [...Array<number>(40).fill(700), 4000, 10, 3000, 10, 700]) loop.turn(pause);
    assert.deepEqual(changes, []);
    assert.equal(counters.get('rloc-probe-timeout'), 0);
    assert.ok(counters.get('rloc-probe-late-timeout') > 0);
  });

  it('notices silence as soon as ever when it is on time, and in the end when it is always late', () => {
    const answers = { on: true };
    const { loop, changes } = probing(answers);
    changes.length = 0;
    answers.on = false;
    let waited = 0;
    for (; changes.length < 2 && waited < 5000; waited += 10) loop.turn(10);
    assert.deepEqual(
      changes.sort(),
      PATHS.map(({ local }) => `${local} down`),
    );
    assert.ok(waited <= 1000, `${waited} ms`);

    const late = probing(answers);
    late.changes.length = 0;
    for (let turn = 0; turn < 100; turn++) late.loop.turn(300);
    assert.deepEqual(
      late.changes.sort(),
      PATHS.map(({ local }) => `${local} down`),
    );
  });
});
