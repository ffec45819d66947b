// SPDX-License-Identifier: BSD-2-Clause

/**
 * The Linux platform: nftables TPROXY in, kernel MPTCP out, a relay of native threads between them, the LISP data plane
 * on a TUN device. Nothing is opened before a part is started.
 */
import { ControlSockets, liveAddresses } from '../control-sockets.js';
import { measurePathMtu } from '../echo.js';
import { nativePart } from '../../native/index.js';
import type { Finding, HostOptions, LispDataPlane, Platform } from '../platform.js';
import { systemClock as clock } from '../system-clock.js';
import { localHostNetwork, raiseFileLimit } from './descriptors.js';
import { doctor } from './doctor.js';
import type { HostNetwork } from './host-network.js';
import { LinuxInterceptor } from './interceptor.js';
import { KernelLispDataPlane } from './kernel-plane.js';
import { LinuxLispDataPlane } from './lisp-data-plane.js';
import { LinuxMptcpConnector } from './mptcp-connector.js';
import { LinuxRelay } from './relay.js';

export interface LinuxPlatformOptions {
  /** Who changes the host's network: the guard when there is one; absent: this process. */
  host?: HostNetwork;
  relayThreads?: number;
  /** The LISP device's name, for `clean()`. */
  device?: string;
  /** Where the LISP data plane runs: inside the kernel where it takes the programs ('auto'), or where told. */
  plane?: 'auto' | 'user' | 'kernel';
  /** Told of what could not be taken back. */
  warn?(message: string): void;
}

function lispDataPlane(host: HostNetwork, { plane = 'user', warn }: LinuxPlatformOptions): LispDataPlane {
  const behind = new LinuxLispDataPlane(host);
  if (plane === 'user') return behind;
  const native = nativePart('bpf');
  return new KernelLispDataPlane({
    behind,
    native,
    required: plane === 'kernel',
    ...(host.loadLispPrograms && { load: () => host.loadLispPrograms!() }),
    ...(warn && { warn }),
  });
}

export async function createLinuxPlatform(options: LinuxPlatformOptions = {}): Promise<Platform> {
  const host = options.host ?? localHostNetwork(options.warn);
  raiseFileLimit();
  return {
    name: 'linux',
    interceptor: new LinuxInterceptor(host),
    connector: new LinuxMptcpConnector({ host, clock }),
    plane: lispDataPlane(host, options),
    relay: new LinuxRelay(options.relayThreads),
    control: new ControlSockets(),
    clock,
    async configure({ rlocs, localPrefixes }: HostOptions): Promise<void> {
      await host.setRlocRoutes(rlocs);
      await host.setLocalPrefixes(localPrefixes);
    },
    close: () => host.close(),
    liveAddresses,
    measurePathMtu: measurePathMtu('linux'),
    doctor: (): Promise<Finding[]> => doctor(),
    clean: () => host.clean(options.device ?? 'lisp0'),
  };
}
