// SPDX-License-Identifier: BSD-2-Clause
/* The guard and a daemon under it, for scenario 'guard': `node sockets-guarded.js guard|daemon DIRECTORY`. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { cleanWithoutGuard, connectToGuard, runGuard } from '../../src/guard/index.js';
import { nativePart } from '../../src/native/index.js';
import { encodeConfig, encodeNumber } from '../../src/platform/linux/kernel-maps.js';
import { loadLispPrograms } from '../../src/platform/linux/lisp-programs.js';
import { MiniGateway } from './sockets-world.js';

const [, , role, directory = '/nowhere'] = process.argv;
const self = fileURLToPath(import.meta.url);

/** With programs the guard has loaded: what a plane does with them takes nothing more than the daemon has. */
async function usePrograms(guard: ReturnType<typeof connectToGuard>): Promise<string> {
  const bpf = nativePart('bpf');
  const refused = (error: unknown): string => (error as { code?: string }).code ?? String(error);
  let byItself = 'loaded';
  try {
    loadLispPrograms(bpf);
  } catch (error) {
    byItself = refused(error);
  }
  try {
    const { maps, programs } = await guard!.loadLispPrograms();
    const config = { device: 0, iid: 0, seed: 0, sourceCheck: true, glean: true };
    bpf.update(maps['lisp_config']!.descriptor, encodeNumber(0), encodeConfig(config));
    const device = bpf.index('lisp9');
    const links = [
      bpf.attach(programs['lisp_encapsulate']!, device, true, false),
      bpf.attach(programs['lisp_decapsulate']!, device, false, true),
    ];
    const { descriptor } = maps['lisp_pins']!;
    const keys = bpf.keys(descriptor, maps['lisp_pins']!.keySize, 10).length;
    bpf.openRing(maps['lisp_events']!.descriptor, maps['lisp_events']!.maxEntries, () => undefined);
    bpf.closeRing();
    links.forEach((link) => bpf.detach(link));
    return `${byItself}, by the guard ${links.length} attached, ${keys} pins`;
  } catch (error) {
    return `${byItself}, by the guard ${refused(error)}`;
  }
}

async function daemon(): Promise<void> {
  const guard = connectToGuard()!;
  guard.onGuardGone(() => void cleanWithoutGuard('lisp9').then(() => process.exit(1)));
  const status = readFileSync('/proc/self/status', 'utf8');
  const refused: string[] = [];
  const refuse = async (attempt: Promise<unknown>): Promise<void> => {
    await attempt.catch((error: { code?: string }) => refused.push(error.code ?? '?'));
  };
  // What a daemon taken over by somebody might ask for.
  await refuse(guard.setSysctl('kernel.core_pattern' as never, '|/bin/sh'));
  await refuse(guard.setSysctl('net.ipv4.ip_forward', '0'));
  await refuse(guard.setDevice('lo', { mtu: 1280, routes: ['0.0.0.0/0'], markedTraffic: false }));
  await refuse(guard.setDevice('../x', { routes: [], markedTraffic: false }));
  await refuse(guard.listenUnix({ path: '/etc/passwd', mode: 0o666 }));
  await refuse(guard.listenUnix({ path: `${directory}/../x`, mode: 0o666 }));
  await refuse(guard.setLocalPrefixes(['192.0.2.0/28; reboot']));
  await refuse(guard.addBypass(5 as unknown as string, 5));
  await refuse(guard.openTun({ device: 'lisp9', queues: 1e9, vnetHeader: true }));

  const tun = await guard.openTun({ device: 'lisp9', queues: 2, vnetHeader: true });
  await guard.setDevice('lisp9', { mtu: 1400, routes: ['203.0.113.0/24'], markedTraffic: true });
  const programs = await usePrograms(guard);
  const gateway = new MiniGateway(guard);
  await gateway.start();
  const descriptor = await guard.listenUnix({ path: `${directory}/api.sock`, mode: 0o660, group: 'nogroup' });
  createServer((_request, response) => response.end('hello')).listen({ fd: descriptor });
  process.on('SIGHUP', () => console.log(JSON.stringify({ event: 'hup' })));
  process.on('SIGTERM', () => void gateway.stop().then(() => process.exit(0)));
  console.log(
    JSON.stringify({
      event: 'up',
      pid: process.pid,
      uid: process.getuid!(),
      capabilities: /CapEff:\s*(\w+)/.exec(status)![1],
      bounding: /CapBnd:\s*(\w+)/.exec(status)![1],
      noNewPrivileges: /NoNewPrivs:\s*(\d)/.exec(status)![1],
      queues: tun.descriptors.length,
      refused,
      programs,
    }),
  );
}

if (role === 'daemon') await daemon();
else if (role === 'guard')
  process.exit(
    await runGuard({
      command: [process.execPath, self, 'daemon', directory],
      user: 'nobody',
      directories: [{ path: directory, mode: 0o755 }],
      device: 'lisp9',
      backOffMs: 100,
      log: (level, message) => console.log(JSON.stringify({ event: 'log', level, message })),
    }),
  );
