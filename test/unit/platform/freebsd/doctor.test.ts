// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doctor, type DoctorView } from '../../../../src/platform/freebsd/doctor.js';

const ANSWERS: Record<string, string> = {
  '/sbin/kldstat': ' 1 1 0xffff 100 kernel\n 2 1 0xffff 100 pf.ko\n',
  '/sbin/pfctl -s info': 'Status: Enabled for 1 days',
  '/sbin/pfctl -s rules': 'anchor "amptcp" all',
  '/sbin/sysctl -n net.inet.ip.forwarding': '1\n',
  '/sbin/sysctl -n net.inet6.ip6.forwarding': '1\n',
  '/sbin/sysctl -n net.inet6.udp6.rfc6935_port': '4341\n',
  '/sbin/sysctl -n kern.maxfilesperproc': '200000\n',
  '/sbin/sysctl -n kern.ipc.soacceptqueue': '4096\n',
};

const view = (changes: Partial<DoctorView> = {}, answers: Record<string, string> = {}): DoctorView => ({
  run: async (command, args) => ({ ...ANSWERS, ...answers })[[command, ...args].join(' ')],
  read: async () => 'anchor "amptcp"\n',
  exists: async () => true,
  addon: () => undefined,
  root: true,
  ...changes,
});

test('a host that has everything', async () => {
  const findings = await doctor(view());
  assert.deepEqual(
    findings.filter(({ ok }) => !ok),
    [],
  );
  assert.ok(findings.some(({ name }) => name === 'lisp(4)'));
});

test('each thing that is missing comes with what to type', async () => {
  const findings = await doctor(
    view(
      { exists: async () => false, read: async () => 'pass all', addon: () => 'no such file' },
      {
        '/sbin/pfctl -s info': 'Status: Disabled',
        '/sbin/pfctl -s rules': 'pass all',
        '/sbin/sysctl -n net.inet.ip.forwarding': '0',
        '/sbin/sysctl -n net.inet6.udp6.rfc6935_port': '0',
        '/sbin/sysctl -n kern.ipc.soacceptqueue': '128',
      },
    ),
  );
  const failed = findings.filter(({ ok }) => !ok);
  assert.ok(failed.every(({ remedy }) => remedy !== undefined && remedy !== ''));
  assert.deepEqual(
    failed.map(({ name }) => name),
    [
      'native addon',
      'ipdivert(4)',
      'tproxy(4)',
      'lisp(4)',
      'mptcp(4)',
      'pf',
      'pf anchor',
      'IPv4 forwarding',
      'LISP over IPv6',
      'listen backlog',
    ],
  );
});

test('an anchor that is written down and not loaded', async () => {
  const findings = await doctor(view({}, { '/sbin/pfctl -s rules': 'pass all' }));
  assert.equal(findings.find(({ name }) => name === 'pf anchor')?.remedy, 'service pf reload');
});

test('without root pf cannot be looked at', async () => {
  const findings = await doctor(view({ root: false }));
  assert.deepEqual(
    findings.filter(({ ok }) => !ok).map(({ name }) => name),
    ['pf rules'],
  );
});
