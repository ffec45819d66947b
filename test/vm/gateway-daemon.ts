// SPDX-License-Identifier: BSD-2-Clause

/**
 * The daemon of the gateway scenarios, driven by words: on the host, with an agent in the guest as its kernel (gateway.ts), or in the
 * guest (gateway-native.ts).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../src/daemon/config.js';
import { Daemon } from '../../src/daemon/daemon.js';
import { createLog } from '../../src/daemon/log.js';
import { State } from '../../src/daemon/state.js';
import type { Native } from '../../src/native/index.js';
import { createFreeBsdPlatform } from '../../src/platform/freebsd/index.js';
import type { Run } from '../../src/platform/freebsd/lisp-device.js';
import { ANCHOR } from '../../src/platform/freebsd/pf-rules.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { accessConfig, MortalClock, noControl } from './in-process.js';

/** The kernel under the daemon. */
export interface Kernel {
  native: Native;
  /** Runs commands; absent: as the product does. */
  run?: Run;
  /** The last calls, for the report of a failure. */
  trace: readonly string[];
  /** Everything opened through it is gone with it. */
  close(): Promise<void> | void;
}

const RLOCS = ['203.0.121.1', '203.0.122.1'];

const CONFIG = (directory: string, source: string, rlocs = RLOCS): string =>
  accessConfig({
    directory,
    mappings: [
      ['198.18.2.0/24', ...rlocs],
      ['2001:db8:2::/64', '203.0.122.1'],
    ],
    include: ['198.18.0.0/16', '2001:db8::/32'],
    source:
      source === 'client'
        ? { clients: ['198.18.1.0/24', '2001:db8:1::/64'] }
        : { nat: ['192.0.2.8/30', '2001:db8:9::8/126'] },
    connectTimeoutMs: 2000,
  });

export interface GatewayDaemon {
  /** One line for one line. */
  command(words: string): Promise<string>;
  close(): Promise<void>;
}

/** `ended`: told after each command that ends the daemon, and with it the agent or process. */
export function gatewayDaemon(
  directory: string,
  open: () => Promise<Kernel> | Kernel,
  ended: (how: 'stop' | 'kill') => void = () => undefined,
): GatewayDaemon {
  let kernel: Kernel | undefined;
  let daemon: Daemon | undefined;
  let clock = new MortalClock();

  const file = join(directory, 'amptcpd.toml');
  const start = async ([source = 'nat']: string[]): Promise<string> => {
    writeFileSync(file, CONFIG(directory, source));
    const { config } = loadConfig(file);
    kernel = await open();
    const { native, run } = kernel;
    const warn = (message: string): void => console.log(`# daemon: ${message}`);
    clock = new MortalClock();
    const platform = createFreeBsdPlatform(
      { relayThreads: 1, warn },
      { native, clock, control: noControl, ...(run && { run }) },
    );
    const log = createLog(process.env['VM_CONSOLE'] ? 'debug' : 'fatal');
    daemon = new Daemon(platform, file, config, log, new State(config.stateDir));
    await daemon.start();
    return 'ok';
  };
  const commands: Record<string, (words: string[]) => Promise<string> | string> = {
    start,
    /** total, bypassed, failed, closed by reason, octets */
    counters: () => JSON.stringify(daemon?.gateway?.counters),
    active: () => String(daemon?.gateway?.active),
    pins: () =>
      JSON.stringify(
        daemon?.platform.plane
          .listPins()
          .map(({ flow, path }) => [flow.local.address, flow.remote.port, path]),
      ),
    /** RLOCs that live connections use. */
    used: () =>
      (daemon?.gateway?.list() ?? [])
        .flatMap(({ subflows }) => [...subflows.values()].map(({ path }) => path?.remote ?? 'none'))
        .join(' '),
    plane: () => JSON.stringify(daemon?.platform.plane.stats()),
    reload: async () => JSON.stringify(await daemon!.reload()),
    /** The server's site has these RLOCs and no other. */
    rlocs: async (rlocs) => {
      writeFileSync(file, CONFIG(directory, 'nat', rlocs));
      return JSON.stringify(await daemon!.reload());
    },
    bypass: async () => JSON.stringify(await daemon!.platform.interceptor.listBypass()),
    /** What a daemon does whose guard has died: it may not run pfctl(8), but was handed a descriptor. */
    flush: () => {
      const pf = kernel!.native.interception!.openDevice('/dev/pf');
      kernel!.native.interception!.flushAnchor(pf, ANCHOR);
      return 'ok';
    },
    /** What the guard does when the daemon has died, on an agent of its own. */
    clean: async () => {
      kernel = await open();
      const { native, run } = kernel;
      const parts = { native, clock: systemClock, control: noControl, ...(run && { run }) };
      await createFreeBsdPlatform({}, parts).clean();
      await kernel.close();
      ended('stop');
      return 'ok';
    },
    stop: async () => {
      await daemon!.stop();
      daemon = undefined;
      await kernel?.close();
      ended('stop');
      return 'ok';
    },
    kill: async () => {
      clock.die();
      daemon = undefined;
      await kernel?.close();
      ended('kill');
      return 'ok';
    },
  };
  return {
    async command(words) {
      const [name = '', ...rest] = words.split(' ');
      const command = commands[name];
      if (!command) return `failed no command ${name}`;
      try {
        return await command(rest);
      } catch (error) {
        for (const call of kernel?.trace.slice(-8) ?? []) console.log(`#   call ${call}`);
        return `failed ${(error as Error).message.replaceAll('\n', ' ')}`;
      }
    },
    async close() {
      clock.die();
      await kernel?.close();
    },
  };
}
