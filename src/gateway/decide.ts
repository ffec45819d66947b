// SPDX-License-Identifier: BSD-2-Clause

/**
 * Second stage: what becomes of a client's connection. Values in, a value out.
 *
 *   map-cache knows locators        -> proxy
 *   map-cache knows there are none  -> bypass, and remember it for as long as the mapping system says
 *   map-cache knows nothing         -> hold while the Map-Request is out; too many held already -> bypass
 *   nobody answered                 -> bypass, and remember it until it makes sense to ask again
 *
 * Bypass never breaks a destination. The actions of a negative mapping (RFC 9301 section 5.4) speak of packets that would
 * be encapsulated; the client's packets were never going to be, so 'drop' does not stop them either.
 */
import type { Mapping } from '../lisp/mapping.js';
import type { Resolution } from '../lisp/mapping-system.js';

/** What the mapping system is known to say about a destination at this moment. */
export type Knowledge = Resolution | { status: 'miss' };

export interface Policy {
  /** access: MPTCP out over the destination's RLOCs. data-centre: TCP out, no mapping is asked for. */
  role: 'access' | 'data-centre';
  /** How long nobody is asked again when a resolution says nothing about it. */
  bypassSeconds: number;
}

export interface HoldLimits {
  held: number;
  holdMax: number;
  holdMs: number;
}

export type Decision =
  | { action: 'proxy'; mapping?: Mapping }
  | { action: 'hold' }
  /** `remember`: not to be intercepted again for a while. */
  | { action: 'bypass'; reason: string; remember?: { prefix: string; ttlSeconds: number } };

/** An nftables or pf set takes no endless time-out, and a mapping system may change its mind. */
const MAX_BYPASS_SECONDS = 3600;

export function decide(
  policy: Policy,
  destination: string,
  knowledge: Knowledge,
  limits: HoldLimits,
): Decision {
  if (policy.role === 'data-centre') return { action: 'proxy' };
  switch (knowledge.status) {
    case 'found':
      return { action: 'proxy', mapping: knowledge.mapping };
    case 'negative': {
      const ttlSeconds = clampTtl(knowledge.mapping.ttlSeconds);
      return {
        action: 'bypass',
        reason: 'no mapping',
        remember: { prefix: knowledge.mapping.eid, ttlSeconds },
      };
    }
    case 'unreachable':
      return {
        action: 'bypass',
        reason: `no answer from the mapping system: ${knowledge.reason}`,
        remember: {
          prefix: hostPrefix(destination),
          ttlSeconds: clampTtl(
            knowledge.retryAfterMs > 0 ? knowledge.retryAfterMs / 1000 : policy.bypassSeconds,
          ),
        },
      };
    case 'miss':
      if (limits.holdMs === 0)
        return { action: 'bypass', reason: 'no mapping yet, and holding is switched off' };
      if (limits.held >= limits.holdMax) {
        return { action: 'bypass', reason: `${limits.held} connections are held already` };
      }
      return { action: 'hold' };
  }
}

/** What the map-cache alone says. */
export const knowledgeOf = (mapping: Mapping | undefined): Knowledge =>
  mapping === undefined
    ? { status: 'miss' }
    : { status: mapping.locators.length > 0 ? 'found' : 'negative', mapping };

export const hostPrefix = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

const clampTtl = (seconds: number): number => Math.min(MAX_BYPASS_SECONDS, Math.max(1, Math.ceil(seconds)));
