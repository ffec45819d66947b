// SPDX-License-Identifier: BSD-2-Clause

/**
 * Loads the native addon and gives each of its parts a type. Only `platform/*` imports this. The TypeScript side
 * checks arguments before native code sees them.
 */
import { createRequire } from 'node:module';
import type { NativePlanePart } from './common/plane.types.js';
import type { NativeConnector, NativeInterception } from './freebsd/interception.types.js';
import type { NativeLispPart } from './freebsd/lisp.types.js';
import type { NativeMptcpPart } from './freebsd/mptcp.types.js';
import type { NativeBpf } from './linux/bpf/bpf.types.js';
import type { NativeDescriptors, NativeListener, NativeMptcp, NativeRelay } from './linux/sockets.types.js';

/** What the addon exports; parts of other systems are absent. */
export interface Native {
  // Portable: the LISP core, in-process or on a TUN device
  plane?: NativePlanePart;
  // FreeBSD, LISP inside the kernel
  lisp?: NativeLispPart;
  // FreeBSD: divert(4) and tproxy(4), TCP towards servers
  interception?: NativeInterception;
  connector?: NativeConnector;
  // FreeBSD: mptcp(4)
  mptcpControl?: NativeMptcpPart;
  // Sockets and threads, on every system
  descriptors?: NativeDescriptors;
  listener?: NativeListener;
  relay?: NativeRelay;
  // Linux MPTCP
  mptcp?: NativeMptcp;
  // Linux, LISP inside the kernel
  bpf?: NativeBpf;
}

let loaded: Native | undefined;

/** @throws Error with what to do, when the addon has not been built. */
export function loadNative(): Native {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  // From dist/src/native/ to the sources, where node-gyp builds.
  const places = ['../../../src/native/build/Release/amptcp.node', './build/Release/amptcp.node'];
  const failures: string[] = [];
  for (const place of places) {
    try {
      loaded = require(process.env['AMPTCP_ADDON'] ?? place) as Native;
      return loaded;
    } catch (error) {
      failures.push((error as Error).message.split('\n')[0]!);
    }
  }
  throw new Error(`the native addon does not load; build it with 'npm run build' (${failures[0]})`);
}

/** A part that must be there on this system. */
export function nativePart<Name extends keyof Native>(name: Name): NonNullable<Native[Name]> {
  const part = loadNative()[name];
  if (!part) throw new Error(`the native addon has no part '${name}' on ${process.platform}`);
  return part;
}
