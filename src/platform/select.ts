// SPDX-License-Identifier: BSD-2-Clause

/**
 * The platform of this host. Each is loaded only when it is the one, so that what another system lacks does not matter here.
 * Nothing is opened and no privilege is needed until the parts are started.
 */
import type { FreeBsdHost } from './freebsd/host.js';
import type { HostNetwork } from './linux/host-network.js';
import type { Finding, Platform } from './platform.js';

/** The memory platform is for simulations and is put together by them. */
export type PlatformName = 'linux' | 'freebsd';

export interface PlatformOptions {
  /** Who changes the host's network for this process: the guard; absent: the process itself. */
  host?: HostNetwork;
  freebsdHost?: FreeBsdHost;
  /** Threads that move bytes. */
  relayThreads?: number;
  /** The LISP device's name, for clean(). */
  device?: string;
  /** Where the LISP data plane runs. */
  plane?: 'auto' | 'user' | 'kernel';
  warn?(message: string): void;
}

export const platformName = (): PlatformName | undefined =>
  process.platform === 'linux' || process.platform === 'freebsd' ? process.platform : undefined;

/** @throws Error where there is no implementation. */
export async function selectPlatform(
  options: PlatformOptions = {},
  name: PlatformName | undefined = platformName(),
): Promise<Platform> {
  switch (name) {
    case 'linux': {
      const { createLinuxPlatform } = await import('./linux/index.js');
      return createLinuxPlatform(options);
    }
    case 'freebsd': {
      const [{ createFreeBsdPlatform }, { loadNative }, { systemClock }] = await Promise.all([
        import('./freebsd/index.js'),
        import('../native/index.js'),
        import('./system-clock.js'),
      ]);
      const { freebsdHost: host, relayThreads, device, warn } = options;
      const native = loadNative();
      native.descriptors?.raiseFileLimit();
      return createFreeBsdPlatform(
        {
          ...(host && { host }),
          ...(relayThreads !== undefined && { relayThreads }),
          ...(device !== undefined && { device }),
          ...(warn && { warn }),
        },
        { native, clock: systemClock },
      );
    }
    default:
      throw new Error(`amptcpd runs on FreeBSD and Linux; this is ${process.platform}`);
  }
}

/** What this host has and lacks. Works where the platform itself could not be put together (the addon is not built, ...). */
export async function diagnose(name: PlatformName | undefined = platformName()): Promise<Finding[]> {
  if (name === 'linux') return (await import('./linux/doctor.js')).doctor();
  if (name === 'freebsd') return (await import('./freebsd/doctor.js')).doctor();
  return [
    {
      name: 'platform',
      ok: false,
      detail: `the gateway does not run on ${process.platform} yet`,
      remedy: 'run it on Linux; the lab runs here with simulated network and MPTCP',
    },
  ];
}
