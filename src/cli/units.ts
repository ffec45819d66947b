// SPDX-License-Identifier: BSD-2-Clause

/** Quantities as people read them. Decimal units, as network rates have them. */
const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P'];

function scaled(value: number, unit: string): string {
  let scale = 0;
  let rest = value;
  while (rest >= 999.5 && scale < PREFIXES.length - 1) {
    rest /= 1000;
    scale += 1;
  }
  const digits = scale === 0 || rest >= 99.95 ? 0 : 1;
  return `${rest.toFixed(digits)} ${PREFIXES[scale]}${unit}`;
}

export const octets = (count: number): string => scaled(count, 'B');
export const rate = (bitsPerSecond: number): string => scaled(bitsPerSecond, 'bit/s');

/** 870 ms, 4.2 s, 3m 20s, 5h 12m, 12d 3h */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ] as const;
  if (d > 0) return `${d}d ${h}h`;
  return h > 0 ? `${h}h ${m}m` : `${m}m ${s}s`;
}

export const milliseconds = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** 192.0.2.1:443, [2001:db8::1]:443 */
export const endpoint = ({ address, port }: { address: string; port: number }): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;
