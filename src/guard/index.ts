// SPDX-License-Identifier: BSD-2-Clause

/**
 * Privilege separation: a parent that stays root and does little, a daemon that does the work as somebody else.
 *
 *   amptcpd (root, guard) --setpriv--> amptcpd (user, CAP_NET_ADMIN + CAP_NET_RAW)
 *        ^------- requests, SOCK_SEQPACKET, fd 3 -------+
 */
export { runGuard, type GuardOptions } from './guard.js';
export { cleanWithoutGuard, connectToGuard, GuardClient } from './client.js';
