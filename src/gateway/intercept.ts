// SPDX-License-Identifier: BSD-2-Clause

/**
 * First stage: what is taken from the clients, and the destinations that are known to be not worth it.
 */
import { PrefixTable } from '../lisp/prefix-table.js';
import { parsePrefix, type Prefix } from '../lisp/prefix.js';
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
interface Entry {
  prefix: Prefix;
  expires: number;
}

/** Expired entries are cleared away after so many new ones: the packet filter forgets them by itself. */
const SWEEP_EVERY = 1024;

export class BypassSet {
  private readonly entries = new PrefixTable<Entry>();
  private added = 0;

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
    mapped: (prefix: Prefix) => boolean,
  ): void {
    const now = this.clock.now();
    const wide = parsePrefix(prefix);
    const chosen = mapped(wide) ? parsePrefix(destination) : wide;
    for (const known of this.entries.matches(0, chosen)) {
      if (known.expires > now) return;
      this.entries.delete(0, known.prefix);
    }
    for (const known of this.entries.within(0, chosen)) this.forget(known);
    const entry = { prefix: chosen, expires: now + ttlSeconds * 1000 };
    this.entries.set(0, chosen, entry);
    if (++this.added % SWEEP_EVERY === 0) this.sweep(now);
    this.interceptor.addBypass(chosen.text, ttlSeconds).catch((error: unknown) => {
      if (this.entries.get(0, chosen) === entry) this.entries.delete(0, chosen);
      this.onError(error, chosen.text);
    });
  }

  /** A mapping with locators has come: what overlaps with it is to be intercepted again. */
  contradict(eid: string): void {
    const prefix = parsePrefix(eid);
    const overlapping = new Set([...this.entries.matches(0, prefix), ...this.entries.within(0, prefix)]);
    for (const known of overlapping) this.forget(known);
  }

  private forget({ prefix }: Entry): void {
    this.entries.delete(0, prefix);
    this.interceptor.removeBypass(prefix.text).catch((error: unknown) => this.onError(error, prefix.text));
  }

  private sweep(now: number): void {
    for (const { prefix, expires } of this.entries.values())
      if (expires <= now) this.entries.delete(0, prefix);
  }
}
