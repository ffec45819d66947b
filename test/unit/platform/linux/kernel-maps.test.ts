// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Locator } from '../../../../src/lisp/mapping.js';
import {
  COUNTERS,
  EVENT_RING,
  LAYOUT,
  MAX_PATHS,
  decodeEvent,
  decodeFlow,
  decodeGleaned,
  encodeFlow,
  encodeGleaned,
  encodeMapping,
  encodePath,
  encodePrefix,
  latest,
  planShares,
  sumCounters,
} from '../../../../src/platform/linux/kernel-maps.js';
import { MAX_LOCATORS } from '../../../../src/platform/core-plane.js';

const hex = (octets: Uint8Array): string => Buffer.from(octets).toString('hex');
const locator = (rloc: string, priority: number, weight: number, reachable = true): Locator => ({
  rloc,
  priority,
  weight,
  reachable,
});

const flow = {
  local: { address: '192.0.2.1', port: 0x1234 },
  remote: { address: '198.18.0.1', port: 80 },
};

describe('maps of the eBPF plane', () => {
  it('are laid out as the C header says', (t) => {
    const header = join(import.meta.dirname ?? '', '../../../../../src/native/linux/bpf/lisp_bpf.h');
    const folder = mkdtempSync(join(tmpdir(), 'amptcp-layout-'));
    try {
      const sizes = {
        'struct lisp_bpf_config': LAYOUT.lisp_config.value,
        'struct lisp_bpf_prefix': LAYOUT.lisp_mappings.key,
        'struct lisp_bpf_mapping': LAYOUT.lisp_mappings.value,
        'struct lisp_bpf_path': LAYOUT.lisp_paths.value,
        'struct lisp_bpf_path_key': LAYOUT.lisp_path_numbers.key,
        'struct lisp_bpf_path_counters': LAYOUT.lisp_path_counters.value,
        'struct lisp_bpf_flow': LAYOUT.lisp_pins.key,
        'struct lisp_bpf_gleaned': LAYOUT.lisp_gleaned.value,
        'struct lisp_bpf_event': 16,
      };
      const source = [
        '#include <stdio.h>',
        '#include <stddef.h>',
        `#include "${header}"`,
        'static const char *const names[] = {',
        '#define NAME(symbol, name) name,',
        'LISP_BPF_COUNTERS(NAME)',
        '};',
        'int main(void) {',
        ...Object.keys(sizes).map((type) => `printf("%zu ", sizeof(${type}));`),
        'printf("%d %d %d\\n", LISP_BPF_MAX_PATHS, LISP_BPF_LOCATORS, LISP_BPF_EVENTS);',
        'for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) printf("%s\\n", names[i]);',
        'return 0; }',
      ].join('\n');
      writeFileSync(join(folder, 'layout.c'), source);
      try {
        execFileSync('gcc', ['-o', join(folder, 'layout'), join(folder, 'layout.c')], { stdio: 'pipe' });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return t.skip('no gcc');
        throw error;
      }
      const [numbers, ...names] = execFileSync(join(folder, 'layout'), { encoding: 'utf8' })
        .trim()
        .split('\n');
      assert.deepEqual(numbers!.trim().split(' ').map(Number), [
        ...Object.values(sizes),
        MAX_PATHS,
        MAX_LOCATORS,
        EVENT_RING,
      ]);
      assert.deepEqual(names, [...COUNTERS]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('keys of prefixes: instance-id, family and address count as bits', () => {
    const host = encodePrefix(0x010203, '192.0.2.0/24');
    assert.equal(new DataView(host.buffer).getUint32(0, true), 32 + 24);
    assert.equal(hex(host.subarray(4)), '01020304' + 'c0000200' + '00'.repeat(12));
    assert.equal(
      hex(encodePrefix(0, '2001:db8::/32').subarray(4)),
      '00000006' + '20010db8' + '00'.repeat(12),
    );
  });

  it('keys of flows', () => {
    assert.equal(
      hex(encodeFlow(flow, 5)),
      `c0000201${'00'.repeat(12)}c6120001${'00'.repeat(12)}1234005006040000` + '05000000',
    );
    const v6 = {
      local: { address: '2001:db8::1', port: 1 },
      remote: { address: '2001:db8:1::2', port: 65535 },
    };
    for (const each of [flow, v6])
      assert.deepEqual(decodeFlow(encodeFlow(each, 7)), { flow: each, iid: 7, protocol: 6 });
  });

  it('paths', () => {
    assert.equal(
      hex(
        encodePath({
          local: '203.0.113.2',
          remote: '203.0.123.2',
          remoteNumber: 3,
          device: 9,
          mtu: 1464,
          up: true,
          valid: false,
        }),
      ),
      `cb007102${'00'.repeat(12)}cb007b02${'00'.repeat(12)}` +
        '03000000' +
        '09000000' +
        '24000000' +
        'b8050000' +
        '0401000000000000',
    );
  });

  it('mappings: shares add up, places that are not used name nothing', () => {
    const octets = encodeMapping({
      shares: [
        { path: 4, weight: 25 },
        { path: 6, weight: 75 },
      ],
      remotes: [
        { number: 1, usable: true },
        { number: 2, usable: false },
        { number: 8, usable: true },
      ],
    });
    const words = new Uint32Array(octets.buffer);
    assert.deepEqual([...words.subarray(0, 8)], [100, 0b101, 4, 25, 6, 100, 0xffffffff, 0]);
    assert.deepEqual([...words.subarray(34, 38)], [1, 2, 8, 0xffffffff]);
    assert.equal(words.length, 50);
  });

  it('gleaned flows and events', () => {
    assert.deepEqual(decodeGleaned(encodeGleaned(3, 123456789012345n)), {
      path: 3,
      usedNs: 123456789012345n,
    });
    const event = new Uint8Array(16);
    event.set([1, 0, 0, 0, 2, 0, 0, 0, 0x78, 0x05]);
    assert.deepEqual(decodeEvent(event), { type: 'path-mtu', path: 2, mtu: 1400 });
    event.set([9, 0, 0, 0]);
    assert.equal(decodeEvent(event), undefined);
  });

  it('counters of all processors are one', () => {
    const octets = new Uint8Array(new BigUint64Array([1n, 10n, 2n, 7n]).buffer);
    assert.deepEqual(sumCounters(octets, 2), [3n, 17n]);
    assert.equal(latest(octets, 2, 1), 10n);
  });
});

describe('shares of a mapping', () => {
  const local = ['203.0.113.2', '203.0.114.2', '2001:db8:113::2'];
  const all = (): boolean => true;

  it('pairs locators with local RLOCs in order', () => {
    assert.deepEqual(planShares([locator('203.0.123.2', 1, 50), locator('203.0.124.2', 1, 50)], local, all), [
      { local: '203.0.113.2', remote: '203.0.123.2', weight: 50 },
      { local: '203.0.114.2', remote: '203.0.124.2', weight: 50 },
    ]);
  });

  it('takes the best priority that is up, and none with 255', () => {
    const locators = [locator('203.0.123.2', 1, 50), locator('203.0.124.2', 2, 50)];
    assert.deepEqual(
      planShares(locators, local, ({ remote }) => remote !== '203.0.123.2'),
      [{ local: '203.0.114.2', remote: '203.0.124.2', weight: 50 }],
    );
    assert.deepEqual(planShares([locator('203.0.123.2', 255, 50)], local, all), []);
    assert.deepEqual(planShares([locator('203.0.123.2', 1, 50, false)], local, all), []);
  });

  it('the next local RLOC stands in for one whose path is down', () => {
    assert.deepEqual(
      planShares([locator('203.0.123.2', 1, 1)], local, (path) => path.local !== '203.0.113.2'),
      [{ local: '203.0.114.2', remote: '203.0.123.2', weight: 1 }],
    );
  });

  it('weights of zero are even shares; among others they get nothing', () => {
    const zero = [locator('203.0.123.2', 1, 0), locator('203.0.124.2', 1, 0)];
    assert.deepEqual(
      planShares(zero, local, all).map(({ weight }) => weight),
      [1, 1],
    );
    assert.deepEqual(
      planShares([...zero, locator('203.0.125.2', 1, 9)], local, all).map(({ remote }) => remote),
      ['203.0.125.2'],
    );
  });

  it('of another family than any local RLOC: none', () => {
    assert.deepEqual(planShares([locator('2001:db8:123::2', 1, 1)], ['203.0.113.2'], all), []);
    assert.equal(planShares([locator('2001:db8:123::2', 1, 1)], local, all)[0]?.local, '2001:db8:113::2');
  });

  it('every share is of the best priority and usable', () => {
    const arbitrary = fc.array(
      fc.record({
        rloc: fc.integer({ min: 1, max: 254 }).map((octet) => `203.0.123.${octet}`),
        priority: fc.constantFrom(1, 2, 255),
        weight: fc.integer({ min: 0, max: 100 }),
        reachable: fc.boolean(),
      }),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(arbitrary, fc.func(fc.boolean()), (locators, up) => {
        const shares = planShares(locators, local, ({ local: from, remote }) => up(from, remote));
        const candidates = locators
          .slice(0, MAX_LOCATORS)
          .filter(
            ({ rloc, priority, reachable }) =>
              reachable && priority !== 255 && local.slice(0, 2).some((from) => up(from, rloc)),
          );
        assert.equal(shares.length > 0, candidates.length > 0);
        const best = Math.min(...candidates.map(({ priority }) => priority));
        for (const share of shares) {
          assert.ok(up(share.local, share.remote));
          assert.ok(candidates.some(({ rloc, priority }) => rloc === share.remote && priority === best));
          assert.ok(share.weight > 0);
        }
      }),
    );
  });
});
