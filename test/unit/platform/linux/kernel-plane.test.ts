// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { NativeBpf, NativeMap } from '../../../../src/native/linux/bpf/bpf.types.js';
import { LAYOUT, encodeFlow } from '../../../../src/platform/linux/kernel-maps.js';
import { KernelLispDataPlane, refusal } from '../../../../src/platform/linux/kernel-plane.js';
import { type LispDataPlane, PlatformError } from '../../../../src/platform/platform.js';

const folder = mkdtempSync(join(tmpdir(), 'amptcp-kernel-plane-'));
after(() => rmSync(folder, { recursive: true }));
const objectFile = join(folder, 'lisp.bpf.o');
writeFileSync(objectFile, '');

const hex = (octets: Uint8Array): string => Buffer.from(octets).toString('hex');

/** A kernel of maps alone; `open` are the descriptors nobody has closed. */
function fakeKernel(change: Partial<NativeBpf> = {}) {
  const names = [...Object.keys(LAYOUT), 'lisp_events'];
  const tables = new Map<number, Map<string, Uint8Array>>();
  const open = new Set<number>();
  let next = 10;
  const descriptor = (): number => {
    open.add(next);
    return next++;
  };
  const maps: Record<string, NativeMap> = {};
  const native: NativeBpf = {
    load: () => {
      for (const name of names) {
        const layout = LAYOUT[name as keyof typeof LAYOUT] as { key: number; value: number } | undefined;
        const number = descriptor();
        tables.set(number, new Map());
        maps[name] = {
          descriptor: number,
          keySize: layout?.key ?? 0,
          valueSize: layout?.value ?? 0,
          maxEntries: 1,
        };
      }
      return { maps, programs: { lisp_encapsulate: descriptor(), lisp_decapsulate: descriptor() } };
    },
    close: (number) => void assert.ok(open.delete(number), `descriptor ${number} closed twice`),
    update: (map, key, value) => void tables.get(map)!.set(hex(key), value),
    delete: (map, key) => tables.get(map)!.delete(hex(key)),
    lookup: () => false,
    keys: () => Buffer.alloc(0),
    attach: descriptor,
    detach: (number) => void assert.ok(open.delete(number), `descriptor ${number} detached twice`),
    clean: () => undefined,
    route: () => ({ device: 7, mtu: 1500, ethernet: true }),
    owner: () => ({ device: 7, mtu: 1500, ethernet: true }),
    index: () => 3,
    openRing: () => undefined,
    closeRing: () => undefined,
    ...change,
  };
  return { native, open, table: (name: string) => tables.get(maps[name]!.descriptor)! };
}

function fakeBehind() {
  const calls: string[] = [];
  const said =
    (name: string) =>
    (...args: unknown[]): void =>
      void calls.push(`${name} ${JSON.stringify(args)}`);
  const plane = {
    kind: 'user',
    start: () => (calls.push('start'), Promise.resolve({ device: 'lisp0', mtu: 1464 })),
    stop: () => (calls.push('stop'), Promise.resolve()),
    update: () => Promise.resolve(),
    setMapping: said('setMapping'),
    deleteMapping: said('deleteMapping'),
    setPathState: said('setPathState'),
    pin: said('pin'),
    unpin: said('unpin'),
  } as unknown as LispDataPlane;
  return { plane, calls };
}

const options = {
  device: 'lisp0',
  iid: 0,
  localRlocs: ['203.0.113.2'],
  localEids: ['10.0.0.0/8'],
  routes: [],
  sourceCheck: true,
  glean: true,
};
const flow = { local: { address: '10.0.0.1', port: 1 }, remote: { address: '198.18.0.1', port: 2 } };
const path = { local: '203.0.113.2', remote: '203.0.123.2' };
const refuse = (code: string) => (): never => {
  throw new PlatformError('no', code);
};

describe('choosing between kernel and user space', () => {
  it('runs in the kernel where it may, and leaves nothing open', async () => {
    const kernel = fakeKernel();
    const behind = fakeBehind();
    const plane = new KernelLispDataPlane({
      behind: behind.plane,
      native: kernel.native,
      objectFile,
      required: true,
    });
    assert.equal(plane.kind, 'user');
    // What is said before the start holds after it, in both planes.
    plane.pin(flow, path);
    await plane.start(options, () => undefined);
    assert.equal(plane.kind, 'kernel');
    assert.ok(kernel.table('lisp_pins').has(hex(encodeFlow(flow, 0))));
    assert.ok(behind.calls.some((call) => call.startsWith('pin ')));
    plane.unpin(flow);
    assert.equal(kernel.table('lisp_pins').size, 0);
    await plane.stop();
    assert.deepEqual([...kernel.open], []);
    assert.equal(plane.kind, 'user');
  });

  for (const [what, change] of [
    ['the programs', { load: refuse('EPERM') }],
    ['their attachment', { attach: refuse('EINVAL') }],
  ] as const) {
    it(`falls back where the kernel refuses ${what}`, async () => {
      const kernel = fakeKernel(change);
      const behind = fakeBehind();
      const warnings: string[] = [];
      const plane = new KernelLispDataPlane({
        behind: behind.plane,
        native: kernel.native,
        objectFile,
        required: false,
        warn: (message) => warnings.push(message),
      });
      assert.deepEqual(await plane.start(options, () => undefined), { device: 'lisp0', mtu: 1464 });
      assert.equal(plane.kind, 'user');
      assert.ok(warnings.some((warning) => warning.startsWith('LISP stays in user space')));
      assert.deepEqual([...kernel.open], []);
      plane.pin(flow, path);
      assert.equal(behind.calls.filter((call) => call.startsWith('pin ')).length, 1);
    });

    it(`fails where it is required and the kernel refuses ${what}`, async () => {
      const kernel = fakeKernel(change);
      const behind = fakeBehind();
      const plane = new KernelLispDataPlane({
        behind: behind.plane,
        native: kernel.native,
        objectFile,
        required: true,
      });
      await assert.rejects(
        plane.start(options, () => undefined),
        PlatformError,
      );
      assert.deepEqual([...kernel.open], []);
      assert.equal(behind.calls.includes('start'), behind.calls.includes('stop'));
    });
  }

  it('says that the programs were not built', () => {
    assert.match(refusal(fakeKernel().native, join(folder, 'absent.o'))!, /clang/);
    assert.equal(refusal(fakeKernel().native, objectFile), undefined);
  });
});
