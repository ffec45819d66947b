// SPDX-License-Identifier: BSD-2-Clause

/**
 * The simulated transit network: datagrams between addresses, each ordered pair of addresses a link of its own with rate,
 * delay and a queue. A link that is cut swallows everything, as a provider does that fails silently.
 */
import type { Clock } from '../platform.js';

export interface LinkOptions {
  /** Megabits a second; undefined: no limit. */
  rateMbps?: number;
  /** One way. */
  delayMs: number;
  /** What waits for its turn at most, octets. */
  queueBytes: number;
}

export interface LinkCounters {
  packets: number;
  bytes: number;
  dropped: number;
}

interface Link extends LinkOptions, LinkCounters {
  cut: boolean;
  /** When the last octet given to it so far has left. */
  freeAt: number;
}

export interface Packet {
  from: { address: string; port: number };
  to: { address: string; port: number };
  data: Uint8Array;
}

/** IPv4 and UDP header in front of each datagram. */
const OUTER_HEADERS = 28;

export class SimulatedNetwork {
  private readonly links = new Map<string, Link>();
  private readonly receivers = new Map<string, (packet: Packet) => void>();

  constructor(
    readonly clock: Clock,
    private readonly defaults: LinkOptions = { delayMs: 5, queueBytes: 4_000_000 },
  ) {}

  /** Both directions between two addresses. */
  setLink(a: string, b: string, options: Partial<LinkOptions>): void {
    for (const link of [this.link(a, b), this.link(b, a)]) Object.assign(link, options);
  }
  /** Both directions, until restored. */
  cut(a: string, b: string): void {
    for (const link of [this.link(a, b), this.link(b, a)]) link.cut = true;
  }
  restore(a: string, b: string): void {
    for (const link of [this.link(a, b), this.link(b, a)]) link.cut = false;
  }
  counters(from: string, to: string): LinkCounters {
    const { packets, bytes, dropped } = this.link(from, to);
    return { packets, bytes, dropped };
  }

  attach(address: string, port: number, receive: (packet: Packet) => void): () => void {
    const key = `${address} ${port}`;
    this.receivers.set(key, receive);
    return () => {
      if (this.receivers.get(key) === receive) this.receivers.delete(key);
    };
  }

  send(packet: Packet): void {
    const link = this.link(packet.from.address, packet.to.address);
    const { clock } = this;
    const size = packet.data.length + OUTER_HEADERS;
    const now = clock.now();
    const perMs = link.rateMbps === undefined ? Infinity : (link.rateMbps * 1e6) / 8 / 1000;
    const backlog = Math.max(0, link.freeAt - now) * (perMs === Infinity ? 0 : perMs);
    if (link.cut || backlog + size > link.queueBytes) {
      link.dropped++;
      return;
    }
    link.freeAt = Math.max(link.freeAt, now) + size / perMs;
    clock.setTimeout(
      () => {
        if (link.cut) {
          link.dropped++;
          return;
        }
        link.packets++;
        link.bytes += size;
        this.receivers.get(`${packet.to.address} ${packet.to.port}`)?.(packet);
      },
      link.freeAt - now + link.delayMs,
    );
  }

  private link(from: string, to: string): Link {
    const key = `${from}>${to}`;
    let link = this.links.get(key);
    if (link === undefined) {
      link = { ...this.defaults, cut: false, freeAt: 0, packets: 0, bytes: 0, dropped: 0 };
      this.links.set(key, link);
    }
    return link;
  }
}
