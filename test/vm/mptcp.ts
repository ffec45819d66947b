// SPDX-License-Identifier: BSD-2-Clause

/** The host's side of the MPTCP scenario: a Linux server, see mptcp-peer.ts. */
import { linuxEnd } from './linux-end.js';
import type { MptcpSite } from './mptcp-peer.js';
import type { HostSide } from './scenarios.js';

const SITE: MptcpSite = {
  addresses: ['203.0.113.2', '2001:db8:f::2', '198.51.100.2', '2001:db8:e::2'],
  ports: { mptcp: 5009, tcp: 5010, http: 5011 },
};

export function mptcpHost(): Promise<HostSide | { skip: string }> {
  return linuxEnd({ addresses: SITE.addresses, script: 'mptcp-peer.js', argument: JSON.stringify(SITE) });
}
