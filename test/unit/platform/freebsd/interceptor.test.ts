// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  CapturedSyn,
  CaptureRule,
  DivertedSyn,
  NativeInterception,
} from '../../../../src/native/freebsd/interception.types.js';
import type {
  AcceptedSocket,
  NativeDescriptors,
  NativeListener,
} from '../../../../src/native/linux/sockets.types.js';
import type { FreeBsdHost } from '../../../../src/platform/freebsd/host.js';
import { FreeBsdInterceptor } from '../../../../src/platform/freebsd/interceptor.js';
import type { ClientFlow, Endpoint, InterceptRules } from '../../../../src/platform/platform.js';
import { ManualClock } from './manual-clock.js';

const RULES: InterceptRules = {
  interfaces: ['em1'],
  ports: [{ from: 443, to: 443 }],
  include: ['198.18.2.0/24', '2001:db8:2::/64'],
  exclude: [],
  protocol: 'tcp',
};
const CLIENT = { 4: { address: '198.18.1.10', port: 4001 }, 6: { address: '2001:db8:1::10', port: 4001 } };
const SERVER = { 4: { address: '198.18.2.10', port: 443 }, 6: { address: '2001:db8:2::10', port: 443 } };
const show = ({ address, port }: Endpoint): string => `${address}.${port}`;

/** A kernel that records what it is told; its SYNs are put in by hand. */
class Kernel {
  readonly clock = new ManualClock();
  readonly calls: string[] = [];
  readonly flows: ClientFlow[] = [];
  diverted: DivertedSyn[] = [];
  captured: CapturedSyn[] = [];
  /** What tproxy(4) answers to a release. */
  held = true;
  failing: string | undefined;
  wake: Record<'divert' | 'tproxy', () => void> = { divert: () => undefined, tproxy: () => undefined };
  accepted: (batch: AcceptedSocket[]) => void = () => undefined;
  readonly interceptor: FreeBsdInterceptor;

  constructor() {
    const say = (...words: unknown[]): void => {
      const line = words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))).join(' ');
      this.calls.push(line);
      if (this.failing !== undefined && line.startsWith(this.failing)) throw new Error(`${line}: refused`);
    };
    const host = {
      open: async (what: string) => (say('open', what), { divert: 50, tproxy: 51 }[what] ?? 52),
      setInterception: async (wanted?: { divert: boolean }) =>
        say('pf', wanted === undefined ? 'none' : wanted.divert ? 'divert' : 'pass'),
      addBypass: async (prefix: string) => say('pf bypass', prefix),
      removeBypass: async (prefix: string) => say('pf no bypass', prefix),
    } as Partial<FreeBsdHost> as FreeBsdHost;
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- classes within have a `this` of their own
    const kernel = this;
    const native = {
      Divert: class {
        constructor(_: number, wake: () => void) {
          kernel.wake.divert = wake;
        }
        receive = (): DivertedSyn[] => kernel.diverted.splice(0);
        inject = (packet: Uint8Array): void => say('inject', packet[0]);
        refuse = (packet: Uint8Array): void => say('refuse', packet[0]);
        unreachable = (packet: Uint8Array, code: number): void => say('unreachable', packet[0], code);
        close = (): void => say('close divert');
      },
      Tproxy: class {
        constructor(_: number, wake: () => void) {
          kernel.wake.tproxy = wake;
        }
        register = (client: Endpoint, destination: Endpoint, listener: Endpoint): void =>
          say('register', show(client), show(destination), show(listener));
        unregister = (client: Endpoint): boolean => (say('unregister', show(client)), true);
        capture = (rules: CaptureRule[], holdMs: number): void =>
          say(
            'capture',
            rules.map(({ prefix, capture }) => `${capture ? '' : '!'}${prefix}`).join(' ') || 'nothing',
            `for ${holdMs} ms`,
          );
        events = (): CapturedSyn[] => kernel.captured.splice(0);
        release = (id: number, action: string): boolean => (say('release', id, action), kernel.held);
        close = (): void => say('close tproxy');
      },
    } as unknown as NativeInterception;
    const listener = {
      start: (onAccepted) => (this.accepted = onAccepted),
      add: () => undefined,
      remove: (descriptor) => say('close listener', descriptor),
      counters: () => ({ accepted: 0, paused: 0, failed: 0 }),
      stop: () => say('listener stops'),
    } as NativeListener;
    const descriptors = {
      openListener: (address: string, _port: number, mptcp: boolean) => {
        if (mptcp) say('listen with MPTCP', address);
        return address.includes(':') ? 46 : 44;
      },
      close: (descriptor: number) => say('close', descriptor),
      localPort: (descriptor: number) => 7000 + descriptor,
      reset: (descriptor: number) => say('reset', descriptor),
    } as Partial<NativeDescriptors> as NativeDescriptors;
    this.interceptor = new FreeBsdInterceptor({ host, clock: this.clock, native, listener, descriptors });
  }

  async start(rules = RULES): Promise<void> {
    await this.interceptor.start(rules, (flow) => this.flows.push(flow));
  }
  /** A SYN of IPv4 whose packet is the octet `mark`. */
  syn(mark: number, sequence = 1, joins = false): ClientFlow | undefined {
    this.calls.length = 0;
    const known = this.flows.length;
    this.diverted.push({
      packet: Uint8Array.of(mark),
      client: CLIENT[4],
      destination: SERVER[4],
      sequence,
      joins,
    });
    this.wake.divert();
    return this.flows[known];
  }
  syn6(id: number, joins = false): ClientFlow | undefined {
    this.calls.length = 0;
    const known = this.flows.length;
    this.captured.push({ id, client: CLIENT[6], destination: SERVER[6], joins });
    this.wake.tproxy();
    return this.flows[known];
  }
  accept(family: 4 | 6, descriptor: number): void {
    this.accepted([
      {
        descriptor,
        clientAddress: CLIENT[family].address,
        clientPort: CLIENT[family].port,
        destinationAddress: SERVER[family].address,
        destinationPort: SERVER[family].port,
      },
    ]);
  }
}

test('starts: listeners first, then what catches, then the rules; stops the other way round', async () => {
  const kernel = new Kernel();
  await kernel.start();
  assert.deepEqual(kernel.calls, [
    'open divert',
    'open tproxy',
    'capture 2001:db8:2::/64 for 10000 ms',
    'pf divert',
  ]);
  kernel.calls.length = 0;
  await kernel.interceptor.stop();
  assert.deepEqual(kernel.calls, [
    'pf none',
    'close divert',
    'close tproxy',
    'close listener 44',
    'close listener 46',
    'listener stops',
  ]);
});

test('rules that are refused leave nothing behind', async () => {
  const kernel = new Kernel();
  kernel.failing = 'pf divert';
  await assert.rejects(kernel.start(), /refused/);
  assert.ok(kernel.calls.includes('close divert') && kernel.calls.includes('listener stops'));
  const without = new Kernel();
  without.failing = 'open mptcp';
  await assert.rejects(without.start({ ...RULES, protocol: 'mptcp' }), {
    code: 'EPROTONOSUPPORT',
    message: /the data-centre role needs mptcp\(4\): open mptcp: refused/,
  });
  assert.deepEqual(without.calls, ['open mptcp', 'pf none', 'listener stops']);
});

test("clients with MPTCP: listeners of mptcp(4); a SYN that joins a connection is the kernel's", async () => {
  const kernel = new Kernel();
  const rules: InterceptRules = { ...RULES, protocol: 'mptcp' };
  await kernel.start(rules);
  assert.deepEqual(kernel.calls.slice(0, 3), [
    'open mptcp',
    'listen with MPTCP 127.0.0.1',
    'listen with MPTCP ::1',
  ]);
  assert.equal(kernel.syn(1, 1, true), undefined);
  assert.deepEqual(kernel.calls, ['inject 1']);
  assert.equal(kernel.syn6(7, true), undefined);
  assert.deepEqual(kernel.calls, ['release 7 inject']);
  assert.equal(kernel.interceptor.counters().held, 0);

  const flow = kernel.syn(2)!;
  const accepting = flow.accept();
  assert.deepEqual(kernel.calls, ['register 198.18.1.10.4001 198.18.2.10.443 127.0.0.1.7044', 'inject 2']);
  kernel.accept(4, 99);
  assert.equal(await accepting, 99);

  await kernel.interceptor.update({ ...rules, include: [] });
  await assert.rejects(kernel.interceptor.update(RULES), /what clients speak cannot change/);
  kernel.calls.length = 0;
  await kernel.interceptor.stop();
  assert.equal(kernel.calls.at(-1), 'close 52');
  // Where clients speak TCP, MP_JOIN says nothing.
  const access = new Kernel();
  await access.start();
  assert.ok(access.syn(1, 1, true));
  assert.ok(access.syn6(7, true));
});

test('bypass: the SYN goes on as it came, and so does each that repeats it', async () => {
  const kernel = new Kernel();
  await kernel.start();
  const flow = kernel.syn(1)!;
  assert.equal(flow.held, true);
  assert.deepEqual(kernel.calls, []);
  assert.equal(flow.bypass(), true);
  assert.deepEqual(kernel.calls, ['inject 1']);
  assert.equal(kernel.syn(2), undefined);
  assert.deepEqual(kernel.calls, ['inject 2']);
  assert.notEqual(kernel.syn(3, 77), undefined);
  await assert.rejects(flow.accept(), { code: 'ECONNABORTED' });
});

test('proxy: registered, then injected, then the accepted socket is the one of these addresses', async () => {
  for (const family of [4, 6] as const) {
    const kernel = new Kernel();
    await kernel.start();
    const flow = family === 4 ? kernel.syn(1)! : kernel.syn6(9)!;
    const accepted = flow.accept();
    assert.deepEqual(kernel.calls, [
      `register ${show(CLIENT[family])} ${show(SERVER[family])} ${family === 4 ? '127.0.0.1.7044' : '::1.7046'}`,
      family === 4 ? 'inject 1' : 'release 9 inject',
    ]);
    kernel.accept(family, 88);
    assert.equal(await accepted, 88);
    assert.equal(flow.bypass(), false);
    flow.refuse('ECONNREFUSED');
    // Nobody waits for a second one.
    kernel.calls.length = 0;
    kernel.accept(family, 89);
    assert.deepEqual(kernel.calls, ['reset 89']);
    assert.equal(kernel.clock.timers, 0);
  }
});

test('what the server says of itself reaches the client', async () => {
  const kernel = new Kernel();
  await kernel.start();
  const said: [string, string, string][] = [
    ['ECONNREFUSED', 'refuse 1', 'release 5 refuse'],
    ['EHOSTUNREACH', 'unreachable 1 1', 'release 5 unreachable'],
    ['ENETUNREACH', 'unreachable 1 0', 'release 5 unreachable'],
    ['ETIMEDOUT', 'unreachable 1 1', 'release 5 unreachable'],
  ];
  let sequence = 1;
  for (const [code, four, six] of said) {
    kernel.syn(1, sequence++)!.refuse(code);
    assert.deepEqual(kernel.calls, [four]);
    kernel.syn6(5)!.refuse(code);
    assert.deepEqual(kernel.calls, [six]);
  }
});

test('repeated SYNs make no second flow; held for too long they pass', async () => {
  const kernel = new Kernel();
  await kernel.start();
  const flow = kernel.syn(1)!;
  assert.equal(kernel.syn(2), undefined);
  assert.deepEqual(kernel.calls, []);
  kernel.clock.advance(10_000);
  assert.deepEqual(kernel.calls, ['inject 1']);
  assert.equal(flow.bypass(), true);
  assert.equal(kernel.interceptor.counters().expired, 1);
});

test('IPv6: the kernel let it go meanwhile, so the registration is taken back', async () => {
  const kernel = new Kernel();
  await kernel.start();
  const flow = kernel.syn6(3)!;
  kernel.held = false;
  await assert.rejects(flow.accept(), { code: 'ECONNABORTED' });
  assert.deepEqual(kernel.calls.slice(1), ['release 3 inject', `unregister ${show(CLIENT[6])}`]);
  assert.equal(kernel.clock.timers, 0);
});

test('a client that has gone is not waited for longer than it takes', async () => {
  const kernel = new Kernel();
  await kernel.start();
  const accepted = kernel.syn(1)!.accept();
  kernel.clock.advance(10_000);
  await assert.rejects(accepted, { code: 'ECONNABORTED' });
  assert.ok(kernel.calls.includes(`unregister ${show(CLIENT[4])}`));
});

test('left alone for a while: in the table and before the rules of tproxy(4), until the time is over', async () => {
  const kernel = new Kernel();
  await kernel.start();
  kernel.calls.length = 0;
  await kernel.interceptor.addBypass('2001:db8:2::77/128', 60);
  assert.deepEqual(kernel.calls, [
    'pf bypass 2001:db8:2::77/128',
    'capture !2001:db8:2::77/128 2001:db8:2::/64 for 10000 ms',
  ]);
  await kernel.interceptor.addBypass('2001:db8:2::77/128', 90);
  kernel.clock.advance(60_000);
  assert.deepEqual(await kernel.interceptor.listBypass(), [
    { prefix: '2001:db8:2::77/128', expiresInSeconds: 30 },
  ]);
  kernel.calls.length = 0;
  kernel.clock.advance(30_000);
  assert.deepEqual(kernel.calls, ['capture 2001:db8:2::/64 for 10000 ms', 'pf no bypass 2001:db8:2::77/128']);
  assert.deepEqual(await kernel.interceptor.listBypass(), []);
});

test('no new ones: what is held passes, rules for what is proxied stay', async () => {
  const kernel = new Kernel();
  await kernel.start();
  kernel.syn(1);
  await kernel.interceptor.stopAccepting();
  assert.deepEqual(kernel.calls, ['capture nothing for 10000 ms', 'pf pass', 'inject 1']);
  assert.equal(kernel.syn(2, 5), undefined);
  assert.deepEqual(kernel.calls, ['inject 2']);
});
