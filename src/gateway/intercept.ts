// SPDX-License-Identifier: BSD-2-Clause

/**
 * First stage: what is taken from the clients, and the destinations that are known to be not worth it.
 */
import { hostPrefix } from './decide.js';
import { prefixContains, prefixesOverlap } from '../lisp/prefix.js';
import type { Clock, Interceptor, InterceptRules } from '../platform/platform.js';

export interface InterceptPolicy {
  role: 'access' | 'data-centre';
  interfaces: string[];
  ports: { from: number; to: number }[];
  include: string[];
  exclude: string[];
}

export const rulesOf = (policy: InterceptPolicy): InterceptRules => ({
  interfaces: policy.interfaces,
  ports: policy.ports,
  include: policy.include,
  exclude: policy.exclude,
  protocol: policy.role === 'data-centre' ? 'mptcp' : 'tcp',
});

/**
 * The platform's bypass set and a copy of it here, so that prefixes never overlap (an interval set refuses that) and a new
 * mapping takes back what it contradicts.
 */
export class BypassSet {
  private readonly entries = new Map<string, number>();

  constructor(
    private readonly interceptor: Pick<Interceptor, 'addBypass' | 'removeBypass'>,
    private readonly clock: Clock,
    private readonly onError: (error: unknown, prefix: string) => void,
  ) {}

  /**
   * @param destination the address that led here
   * @param mapped whether some mapping with locators lies within a prefix: then only the destination itself is passed by
   */
  remember(
    destination: string,
    prefix: string,
    ttlSeconds: number,
    mapped: (prefix: string) => boolean,
  ): void {
    const now = this.clock.now();
    for (const [known, expires] of this.entries) if (expires <= now) this.entries.delete(known);
    const chosen = mapped(prefix) ? hostPrefix(destination) : prefix;
    for (const known of this.entries.keys()) if (prefixContains(known, chosen)) return;
    for (const known of [...this.entries.keys()]) if (prefixContains(chosen, known)) this.forget(known);
    this.entries.set(chosen, now + ttlSeconds * 1000);
    this.interceptor.addBypass(chosen, ttlSeconds).catch((error: unknown) => {
      this.entries.delete(chosen);
      this.onError(error, chosen);
    });
  }

  /** A mapping with locators has come: what overlaps with it is to be intercepted again. */
  contradict(eid: string): void {
    for (const known of [...this.entries.keys()]) if (prefixesOverlap(known, eid)) this.forget(known);
  }

  private forget(prefix: string): void {
    this.entries.delete(prefix);
    this.interceptor.removeBypass(prefix).catch((error: unknown) => this.onError(error, prefix));
  }
}
