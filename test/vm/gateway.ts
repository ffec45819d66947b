// SPDX-License-Identifier: BSD-2-Clause

/**
 * The host's side of the gateway scenario: the daemon runs here, its kernel is the guest's.
 *
 *   Daemon, FreeBSD platform (here) -- agent-link.ts -- TCP, forwarded by QEMU -- agent (jail xa) -- pf, tproxy(4), lisp(4)
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { loadConfig } from '../../src/daemon/config.js';
import { Daemon } from '../../src/daemon/daemon.js';
import { createLog } from '../../src/daemon/log.js';
import { State } from '../../src/daemon/state.js';
import type { Native } from '../../src/native/index.js';
import { createFreeBsdPlatform } from '../../src/platform/freebsd/index.js';
import { ANCHOR } from '../../src/platform/freebsd/pf-rules.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { agentDevice, freePort } from './agent-end.js';
import { AgentLink, remoteNative } from './agent-link.js';
import { accessConfig, MortalClock, noControl } from './in-process.js';
import type { HostSide, ScenarioContext } from './scenarios.js';

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

/** As the port builds it; it cannot be loaded here, but that it compiles and links is seen. */
async function buildAddon(
  { project, environment, tools }: ScenarioContext,
  directory: string,
): Promise<string> {
  const include = [join(dirname(process.execPath), '..', 'include', 'node'), '/usr/include/node'].find(
    (place) => existsSync(join(place, 'uv.h')),
  );
  if (include === undefined)
    return "the addon was not built: Node's uv.h is not on this host (Debian: libnode-dev)";
  const target = `--target=x86_64-unknown-freebsd14.0 --sysroot=${environment.sysroot}`;
  const script = join(project, 'src', 'native', 'freebsd', 'build.sh');
  await promisify(execFile)('sh', [script, join(directory, 'amptcp.node')], {
    env: {
      ...process.env,
      CC: `${tools.clang} ${target}`,
      CXX: `${tools.clang.replace(/clang(-\d+)?$/, 'clang++$1')} ${target} -stdlib=libc++`,
      LDFLAGS: `--ld-path=${tools.lld}`,
      NODE_INCLUDE: include,
    },
  });
  return "the port's script builds the addon for FreeBSD";
}

export async function gatewayHost(context: ScenarioContext): Promise<HostSide> {
  const { environment } = context;
  const directory = mkdtempSync(join(tmpdir(), 'amptcp-vm-gateway-'));
  console.log(`# gateway: ${await buildAddon(context, directory)}`);
  const port = await freePort();
  const { target } = environment;
  const native = target.kind === 'tree' && existsSync(join(target.root, 'usr/local/bin/node'));
  console.log(
    native
      ? '# gateway: Node.js is in the guest, but this scenario drives the agent: the daemon runs on the host'
      : '# gateway: no Node.js in the guest: the daemon runs on the host, its native object is the agent in the guest',
  );
  let link: AgentLink | undefined;
  let daemon: Daemon | undefined;
  let parts: Native | undefined;
  let clock = new MortalClock();

  const file = join(directory, 'amptcpd.toml');
  const start = async ([source = 'nat']: string[]): Promise<string> => {
    writeFileSync(file, CONFIG(directory, source));
    const { config } = loadConfig(file);
    link = await AgentLink.open('127.0.0.1', port);
    const remote = remoteNative(link);
    parts = remote.native;
    const { run } = remote;
    const warn = (message: string): void => console.log(`# daemon: ${message}`);
    clock = new MortalClock();
    const platform = createFreeBsdPlatform(
      { relayThreads: 1, warn },
      { native: parts, run, clock, control: noControl },
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
      const pf = parts!.interception!.openDevice('/dev/pf');
      parts!.interception!.flushAnchor(pf, ANCHOR);
      return 'ok';
    },
    /** What the guard does when the daemon has died, on an agent of its own. */
    clean: async () => {
      link = await AgentLink.open('127.0.0.1', port);
      const { native, run } = remoteNative(link);
      await createFreeBsdPlatform({}, { native, run, clock: systemClock, control: noControl }).clean();
      await link.close();
      return 'ok';
    },
    stop: async () => {
      await daemon!.stop();
      daemon = undefined;
      await link?.close();
      return 'ok';
    },
    kill: async () => {
      clock.die();
      daemon = undefined;
      await link?.close();
      return 'ok';
    },
  };
  return {
    prefix: [],
    devices: agentDevice(context.nic, port),
    async request(words) {
      const [name = '', ...rest] = words.split(' ');
      const command = commands[name];
      if (!command) return `failed no command ${name}`;
      try {
        return await command(rest);
      } catch (error) {
        for (const call of link?.trace.slice(-8) ?? []) console.log(`#   call ${call}`);
        return `failed ${(error as Error).message.replaceAll('\n', ' ')}`;
      }
    },
    async close() {
      clock.die();
      await link?.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
