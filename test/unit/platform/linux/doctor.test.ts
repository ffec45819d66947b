// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { doctor, type DoctorView } from '../../../../src/platform/linux/doctor.js';

const good: Record<string, string> = {
  '/proc/sys/net/mptcp/enabled': '1',
  '/proc/sys/net/mptcp/path_manager': 'kernel',
  '/proc/self/status': 'Name:\tnode\nCapEff:\t0000000000003000\n',
  '/proc/self/limits': 'Max open files            1024                 1048576              files',
  '/proc/sys/net/ipv4/ip_forward': '1',
  '/proc/sys/net/ipv6/conf/all/forwarding': '1',
  '/proc/sys/net/ipv4/conf/all/rp_filter': '2',
  '/proc/sys/net/core/somaxconn': '4096',
  '/proc/sys/net/ipv4/tcp_available_congestion_control': 'reno cubic',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999',
};

const view = (changes: Record<string, string | undefined>, rest: Partial<DoctorView> = {}): DoctorView => ({
  read: async (path) => (path in changes ? changes[path] : good[path]),
  usable: async () => true,
  find: async (program) => `/usr/sbin/${program}`,
  addon: () => undefined,
  kernel: '6.1.0',
  ...rest,
});

const failing = async (seen: DoctorView): Promise<string[]> =>
  (await doctor(seen)).filter(({ ok }) => !ok).map(({ name }) => name);

describe('doctor', () => {
  it('finds nothing on a host that has everything', async () =>
    assert.deepEqual(await failing(view({})), []));

  it('names what is missing, and what to do', async () => {
    const cases: [string, DoctorView][] = [
      ['kernel MPTCP', view({ '/proc/sys/net/mptcp/enabled': '0' })],
      ['reverse path filter', view({ '/proc/sys/net/ipv4/conf/all/rp_filter': '1' })],
      ['IPv4 forwarding', view({ '/proc/sys/net/ipv4/ip_forward': '0' })],
      ['privilege', view({ '/proc/self/status': 'CapEff:\t0000000000001000' })],
      ['open files', view({ '/proc/self/limits': 'Max open files   1024   4096   files' })],
      ['TUN device', view({}, { usable: async () => false })],
      ['native addon', view({}, { addon: () => 'not built' })],
      ['nft', view({}, { find: async (program) => (program === 'nft' ? undefined : '/x') })],
    ];
    for (const [name, seen] of cases) {
      assert.deepEqual(await failing(seen), [name]);
      const finding = (await doctor(seen)).find((one) => one.name === name)!;
      assert.ok(finding.remedy && finding.detail, name);
    }
  });

  it('says so on a kernel without MPTCP', async () =>
    assert.deepEqual(
      await failing(
        view({ '/proc/sys/net/mptcp/enabled': undefined, '/proc/sys/net/mptcp/path_manager': undefined }),
      ),
      ['kernel MPTCP', 'MPTCP path manager'],
    ));
});
