// SPDX-License-Identifier: BSD-2-Clause

/**
 * The least gateway, for measurements: every intercepted connection is connected on by the host's ordinary routes, with
 * TCP or MPTCP, and relayed. No mapping system, no LISP. Started in a host of the lab with its task as JSON argument.
 */
import type { ClientFlow } from '../../src/platform/platform.js';
import { selectPlatform } from '../../src/platform/select.js';

export interface ProxyTask {
  multipath: boolean;
  interfaces: string[];
  ports: { from: number; to: number }[];
  /** The gateway's own identity. */
  prefix: string;
  notSentLowat?: number;
  congestionControl?: string;
  threads?: number;
}

const task = JSON.parse(process.argv[2] ?? '') as ProxyTask;
const platform = await selectPlatform({
  relayThreads: task.threads ?? 2,
  warn: (message) => process.stderr.write(`${message}\n`),
});
const { interceptor, connector, relay } = platform;

async function proxy(flow: ClientFlow): Promise<void> {
  try {
    const connection = await connector.connect({
      source: { prefix: task.prefix },
      remote: flow.destination,
      multipath: task.multipath,
      viaLisp: false,
      timeoutMs: 5000,
      ...(task.congestionControl && { congestionControl: task.congestionControl }),
      ...(task.notSentLowat && { notSentLowat: task.notSentLowat }),
      beforeSyn: () => undefined,
    });
    const session = relay.run(await flow.accept(), connection.socket, {
      idleTimeoutMs: 600_000,
      halfOpenTimeoutMs: 60_000,
      keepaliveSeconds: 0,
      ...(connection.acknowledge && { onStarved: () => connection.acknowledge!() }),
    });
    await session.closed;
    connection.dispose();
  } catch (error) {
    flow.refuse((error as { code?: string }).code ?? 'ECONNREFUSED');
  }
}

await platform.configure?.({ rlocs: [], localPrefixes: [task.prefix] });
await connector.start();
await relay.start();
await interceptor.start(
  { interfaces: task.interfaces, ports: task.ports, include: [], exclude: [], protocol: 'tcp' },
  (flow) => void proxy(flow),
);
process.stdout.write('ready\n');
process.stdin.resume().on('close', () => void end());

async function end(): Promise<void> {
  await interceptor.stop();
  await relay.stop();
  await connector.stop();
  await platform.close?.();
  process.exit(0);
}
