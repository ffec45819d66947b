// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativeLispControl, NativeLispPart } from '../../../../src/native/freebsd/lisp.types.js';
import { FreeBsdLispDataPlane } from '../../../../src/platform/freebsd/lisp-data-plane.js';
import { CommandLispDevice, type LispDevice } from '../../../../src/platform/freebsd/lisp-device.js';
import type { PlaneEvent, PlaneOptions } from '../../../../src/platform/platform.js';

const OPTIONS: PlaneOptions = {
  device: 'lisp0',
  iid: 0,
  localRlocs: ['203.0.113.2', '2001:db8:f::2'],
  localEids: ['192.0.2.0/28'],
  routes: ['198.18.0.0/15'],
  sourceCheck: true,
  glean: false,
};

/** Records what the kernel would be told. */
function fake(
  failing?: string,
  counters: Record<string, number> = {},
): {
  native: () => NativeLispPart;
  device: LispDevice;
  calls: string[];
  wake: (events: PlaneEvent[]) => void;
} {
  const calls: string[] = [];
  let waiting: PlaneEvent[] = [];
  let wake: (() => void) | undefined;
  const record = (name: string, ...words: unknown[]): void => {
    calls.push([name, ...words.map((word) => JSON.stringify(word))].join(' '));
    if (name === failing) throw new Error(`${name} refused`);
  };
  class Control implements Partial<NativeLispControl> {
    constructor(descriptor: number | undefined, callback?: () => void) {
      record('open', descriptor ?? null);
      wake = callback;
    }
    flushMappings = (): void => record('flushMappings');
    flushPins = (): void => record('flushPins');
    setSwitch = (name: string, value: number): void => record('setSwitch', name, value);
    setRlocs = (rlocs: string[]): void => record('setRlocs', rlocs);
    setIid = (iid: number): void => record('setIid', iid);
    setEids = (iid: number, eids: string[]): void => record('setEids', iid, eids);
    setMapping = (...words: unknown[]): void => record('setMapping', ...words);
    info = (): ReturnType<NativeLispControl['info']> => ({
      device: 'lisp0',
      iid: 0,
      mtu: 1444,
      mappings: 3,
      pins: 2,
      paths: 1,
    });
    stats = (): Record<string, number> => counters;
    events = (): PlaneEvent[] => waiting.splice(0);
    close = (): void => record('close');
  }
  return {
    calls,
    native: () => ({ Control: Control as unknown as NativeLispPart['Control'] }),
    device: {
      create: (name) => (record('create', name), Promise.resolve(name)),
      configure: (name, settings) => (record('configure', name, settings), Promise.resolve()),
      destroy: (name) => (record('destroy', name), Promise.resolve()),
    },
    wake(events) {
      waiting = events;
      wake?.();
    },
  };
}

void test('start tells the kernel the whole site and leaves room for the larger outer header', async () => {
  const { native, device, calls } = fake();
  const plane = new FreeBsdLispDataPlane(device, native);
  assert.deepEqual(await plane.start(OPTIONS, () => undefined), { device: 'lisp0', mtu: 1444 });
  assert.deepEqual(calls, [
    'create "lisp0"',
    'open null',
    'flushMappings',
    'flushPins',
    'setSwitch "underlay_mtu" 1500',
    'setSwitch "source_check" 1',
    'setSwitch "glean" 0',
    'setRlocs ["203.0.113.2","2001:db8:f::2"]',
    'setIid 0',
    'setEids 0 ["192.0.2.0/28"]',
    'configure "lisp0" {"mtu":1444,"routes":["198.18.0.0/15"],"previous":[]}',
  ]);
});

void test('a failed start leaves nothing behind', async () => {
  const { native, device, calls } = fake('setEids');
  const plane = new FreeBsdLispDataPlane(device, native);
  await assert.rejects(
    plane.start(OPTIONS, () => undefined),
    /setEids refused/,
  );
  assert.deepEqual(calls.slice(-2), ['close', 'destroy "lisp0"']);
  assert.throws(() => plane.stats(), { code: 'ENXIO' });
});

void test('update moves to another instance without its old EIDs staying', async () => {
  const { native, device, calls } = fake();
  const plane = new FreeBsdLispDataPlane(device, native);
  await plane.start(OPTIONS, () => undefined);
  calls.length = 0;
  await plane.update({ ...OPTIONS, iid: 7, routes: ['198.18.1.0/24'] });
  assert.deepEqual(
    calls.filter((call) => call.startsWith('setEids')),
    ['setEids 0 []', 'setEids 7 ["192.0.2.0/28"]'],
  );
  assert.equal(
    calls.at(-1),
    'configure "lisp0" {"mtu":1444,"routes":["198.18.1.0/24"],"previous":["198.18.0.0/15"]}',
  );
});

void test('events reach the listener until the plane stops', async () => {
  const { native, device, wake } = fake();
  const plane = new FreeBsdLispDataPlane(device, native);
  const seen: PlaneEvent[] = [];
  await plane.start(OPTIONS, (event) => seen.push(event));
  const miss: PlaneEvent = { type: 'miss', iid: 0, eid: '198.18.1.10', reason: 'encapsulate' };
  wake([miss]);
  assert.deepEqual(seen, [miss]);
  await plane.stop();
  wake([miss]);
  assert.equal(seen.length, 1);
});

void test('counters become statistics by cause', async () => {
  const { native, device } = fake(undefined, {
    encapsulated: 5,
    decapsulated: 4,
    'drop.no-mapping': 2,
    'drop.ecn': 0,
  });
  const plane = new FreeBsdLispDataPlane(device, native);
  await plane.start(OPTIONS, () => undefined);
  assert.deepEqual(plane.stats(), {
    encapsulated: 5,
    decapsulated: 4,
    drops: { 'no-mapping': 2 },
    mappings: 3,
    pins: 2,
    queued: 0,
  });
});

void test('the interface is made once, and its routes follow the configuration', async () => {
  const commands: string[] = [];
  let interfaces = 'em0 lo0';
  const device = new CommandLispDevice((command, args) => {
    commands.push([command, ...args].join(' '));
    if (args[1] === 'create') interfaces += ' lisp0';
    return Promise.resolve(args[0] === '-l' ? `${interfaces}\n` : '');
  });
  await device.create('lisp0');
  await device.create('lisp0');
  await device.configure('lisp0', {
    mtu: 1444,
    routes: ['198.18.0.0/15', '2001:db8::/32'],
    previous: ['10.0.0.0/8'],
  });
  assert.deepEqual(commands, [
    '/sbin/kldstat -q -n lisp.ko',
    '/sbin/ifconfig -l',
    '/sbin/ifconfig lisp0 create',
    '/sbin/kldstat -q -n lisp.ko',
    '/sbin/ifconfig -l',
    '/sbin/ifconfig lisp0 mtu 1444 up',
    '/sbin/route -q -n add -inet -net 198.18.0.0/15 -interface lisp0',
    '/sbin/route -q -n add -inet6 -net 2001:db8::/32 -interface lisp0',
    '/sbin/route -q -n delete -inet -net 10.0.0.0/8 -interface lisp0',
  ]);
  await assert.rejects(device.create('em0'), { code: 'EINVAL' });
});
