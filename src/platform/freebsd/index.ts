// SPDX-License-Identifier: BSD-2-Clause

/**
 * The FreeBSD platform: pf divert-to and tproxy(4) in, mptcp(4) or TCP out, a relay of native threads between them, the LISP data plane in
 * lisp(4). Nothing is opened before a part is started.
 */
import type { Native } from '../../native/index.js';
import { ControlSockets } from '../control-sockets.js';
import { measurePathMtu } from '../echo.js';
import type { Clock, ControlTransport, Finding, HostOptions, Platform } from '../platform.js';
import { ThreadsRelay } from '../threads-relay.js';
import { FreeBsdConnector } from './connector.js';
import { doctor } from './doctor.js';
import { type FreeBsdHost, LocalFreeBsdHost } from './host.js';
import { FreeBsdInterceptor } from './interceptor.js';
import { FreeBsdLispDataPlane } from './lisp-data-plane.js';
import type { Run } from './lisp-device.js';

export interface FreeBsdPlatformOptions {
  /** Who changes the host: the guard when there is one; absent: this process. */
  host?: FreeBsdHost;
  relayThreads?: number;
  device?: string;
  warn?(message: string): void;
}

/** What a platform is put together from; injected so that it can run away from the kernel it steers. */
export interface FreeBsdParts {
  native: Native;
  clock: Clock;
  run?: Run;
  control?: ControlTransport;
}

const need = <Name extends keyof Native>(native: Native, name: Name): NonNullable<Native[Name]> => {
  const part = native[name];
  if (!part) throw new Error(`the native addon has no part '${name}'`);
  return part;
};

export const localFreeBsdHost = (
  native: Native,
  run?: Run,
  warn?: (message: string) => void,
): LocalFreeBsdHost => {
  const interception = need(native, 'interception');
  return new LocalFreeBsdHost(
    {
      // As much room as the system gives: the default holds some 200 SYNs.
      divert: (port) => interception.openDivert(port, 1 << 20),
      device: (path) => interception.openDevice(path),
      transparent: (family, mptcp) => need(native, 'connector').openTransparent(family, mptcp),
      flush: (pf, anchor) => interception.flushAnchor(pf, anchor),
    },
    run,
    warn,
  );
};

export function createFreeBsdPlatform(options: FreeBsdPlatformOptions, parts: FreeBsdParts): Platform {
  const { native, clock, run, control } = parts;
  const { warn } = options;
  const host = options.host ?? localFreeBsdHost(native, run, warn);
  const descriptors = need(native, 'descriptors');
  return {
    name: 'freebsd',
    interceptor: new FreeBsdInterceptor({
      host,
      clock,
      native: need(native, 'interception'),
      listener: need(native, 'listener'),
      descriptors,
      ...(warn && { warn }),
    }),
    connector: new FreeBsdConnector({
      native: need(native, 'connector'),
      interception: need(native, 'interception'),
      descriptors,
      host,
      ...(native.mptcpControl && {
        mptcp: { native: native.mptcpControl, clock, open: () => host.open('mptcp') },
      }),
      ...(warn && { warn }),
    }),
    plane: new FreeBsdLispDataPlane(
      host,
      () => need(native, 'lisp'),
      () => host.open('lisp'),
      (name, value) => host.setSwitch(name, value),
    ),
    // Copied here, or moved by the kernel where it can (SO_SPLICE).
    relay: new ThreadsRelay(need(native, 'relay'), { up: 'join', down: 'join' }, options.relayThreads),
    control: control ?? new ControlSockets(),
    clock,
    async configure({ rlocs, localPrefixes, clientPrefixes }: HostOptions): Promise<void> {
      await host.setRlocRoutes(rlocs);
      await host.setClientPrefixes(clientPrefixes ?? []);
      await host.setLocalPrefixes(localPrefixes);
    },
    close: () => host.close(),
    // Not libuv's list: to that an interface without carrier is as good as any.
    liveAddresses: () => need(native, 'connector').liveAddresses(),
    measurePathMtu: measurePathMtu('freebsd'),
    doctor: (): Promise<Finding[]> => doctor(),
    clean: () => host.clean(options.device ?? 'lisp0'),
  };
}
