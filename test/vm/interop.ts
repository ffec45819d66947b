// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the interoperation scenario: a network namespace in which both QEMU and a Linux xTR live.
 *
 *   namespace:  lisp0 (TUN) -- linux-peer.js -- vm0 (tap) ==== vtnet0 -- lisp.ko -- lisp0   :guest
 */
import { linuxEnd } from './linux-end.js';
import type { HostSide } from './scenarios.js';
import type { PeerSite } from './linux-peer.js';

const PORT = 5007;
const SITE: PeerSite = {
  options: {
    device: 'lisp0',
    iid: 0,
    localRlocs: ['203.0.113.2', '203.0.113.12', '2001:db8:f::2', '2001:db8:f::12'],
    localEids: ['198.18.2.0/24', '2001:db8:2::/64'],
    routes: ['198.18.1.0/24', '2001:db8:1::/64'],
    mtu: 1444,
    sourceCheck: true,
    glean: true,
  },
  peer: {
    eids: ['198.18.1.0/24', '2001:db8:1::/64'],
    rlocs: { 4: ['203.0.113.1', '203.0.113.11'], 6: ['2001:db8:f::1', '2001:db8:f::11'] },
  },
  hosts: { 4: '198.18.2.10', 6: '2001:db8:2::10' },
  port: PORT,
};

export function interopHost(): Promise<HostSide | { skip: string }> {
  return linuxEnd({
    addresses: SITE.options.localRlocs,
    hosts: Object.values(SITE.hosts),
    script: 'linux-peer.js',
    argument: JSON.stringify(SITE),
  });
}
