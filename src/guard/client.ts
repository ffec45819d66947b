// SPDX-License-Identifier: BSD-2-Clause

/** The daemon's side of the guard: a HostNetwork that asks its parent. */
import { PlatformError } from '../platform/platform.js';
import {
  closeDescriptor,
  localHostNetwork,
  type MessageChannel,
  openMessageChannel,
} from '../platform/linux/descriptors.js';
import type {
  BypassEntry,
  DeviceSettings,
  HostNetwork,
  InterceptionRequest,
  ListenRequest,
  RlocRoute,
  SysctlName,
  TunDevice,
  TunRequest,
} from '../platform/linux/host-network.js';
import type { LispPrograms } from '../platform/linux/lisp-programs.js';
import { FreeBsdGuardHost } from './freebsd.js';
import {
  type GuardAnswer,
  type GuardRequest,
  type PassedPrograms,
  type UnixListenRequest,
  unpackPrograms,
} from './messages.js';

/** Names the descriptor of the channel to the guard in the daemon's environment. */
export const GUARD_FD = 'AMPTCP_GUARD_FD';

type Result = Extract<GuardAnswer, { result?: unknown }>['result'];

export class GuardClient implements HostNetwork {
  readonly #waiting = new Map<
    number,
    { resolve(value: { result: Result; descriptors: number[] }): void; reject(error: Error): void }
  >();
  readonly #channel: MessageChannel;
  #next = 1;
  #gone = false;
  #onGone: () => void = () => undefined;

  constructor(descriptor: number) {
    this.#channel = openMessageChannel(descriptor, (value, descriptors) => this.#answer(value, descriptors));
  }

  /** The guard has died. The daemon must not outlive it: nobody would remove its rules. */
  onGuardGone(listener: () => void): void {
    this.#onGone = listener;
    if (this.#gone) listener();
  }

  #answer(value: unknown, descriptors: number[]): void {
    if (value === undefined) {
      this.#gone = true;
      for (const { reject } of this.#waiting.values())
        reject(new PlatformError('the guard process is gone', 'EPIPE'));
      this.#waiting.clear();
      this.#onGone();
      return;
    }
    const answer = value as GuardAnswer;
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return descriptors.forEach(closeDescriptor);
    this.#waiting.delete(answer.id);
    if ('error' in answer) waiting.reject(new PlatformError(answer.error.message, answer.error.code));
    else waiting.resolve({ result: answer.result, descriptors });
  }

  #call(request: GuardRequest): Promise<{ result: Result; descriptors: number[] }> {
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(new PlatformError('the guard process is gone', 'EPIPE'));
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      try {
        this.#channel.send({ ...request, id });
      } catch (error) {
        this.#waiting.delete(id);
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  async #descriptor(request: GuardRequest): Promise<number> {
    const { descriptors } = await this.#call(request);
    const [descriptor] = descriptors;
    if (descriptor === undefined)
      throw new PlatformError(`the guard's answer to ${request.type} had no descriptor`, 'EPROTO');
    return descriptor;
  }

  async openTun(request: TunRequest): Promise<TunDevice> {
    const { result, descriptors } = await this.#call({ type: 'open-tun', request });
    return { device: (result as { device: string }).device, descriptors };
  }
  async setDevice(device: string, settings: DeviceSettings): Promise<void> {
    await this.#call({ type: 'set-device', device, settings });
  }
  async setLocalPrefixes(prefixes: string[]): Promise<void> {
    await this.#call({ type: 'set-local-prefixes', prefixes });
  }
  async setRlocRoutes(rlocs: RlocRoute[]): Promise<void> {
    await this.#call({ type: 'set-rloc-routes', rlocs });
  }
  async setInterception(request: InterceptionRequest | undefined | 'none'): Promise<void> {
    await this.#call({ type: 'set-interception', request: request ?? 'delivery-only' });
  }
  async addBypass(prefix: string, ttlSeconds: number): Promise<void> {
    await this.#call({ type: 'add-bypass', prefix, ttlSeconds });
  }
  async removeBypass(prefix: string): Promise<void> {
    await this.#call({ type: 'remove-bypass', prefix });
  }
  async listBypass(): Promise<BypassEntry[]> {
    const { result } = await this.#call({ type: 'list-bypass' });
    return (result ?? []) as BypassEntry[];
  }
  listen(request: ListenRequest): Promise<number> {
    return this.#descriptor({ type: 'listen', request });
  }
  /** A listening UNIX socket owned by root and the group, for the API. */
  listenUnix(request: UnixListenRequest): Promise<number> {
    return this.#descriptor({ type: 'listen-unix', request });
  }
  async setSysctl(name: SysctlName, value: string): Promise<string | undefined> {
    const { result } = await this.#call({ type: 'set-sysctl', name, value });
    return result as string | undefined;
  }
  async loadLispPrograms(): Promise<LispPrograms> {
    const { result, descriptors } = await this.#call({ type: 'load-lisp-programs' });
    try {
      return unpackPrograms(result as PassedPrograms, descriptors);
    } catch (error) {
      descriptors.forEach(closeDescriptor);
      throw error;
    }
  }
  /** The same guard as a FreeBSD daemon needs it. */
  freeBsdHost(): FreeBsdGuardHost {
    return new FreeBsdGuardHost((call) => this.#call({ type: 'freebsd', call }), this);
  }
  async clean(device?: string): Promise<void> {
    await this.#call({ type: 'clean', device });
  }
  async close(): Promise<void> {
    await this.#call({ type: 'close' });
  }
}

/**
 * On FreeBSD the anchor goes by the descriptor of /dev/pf the guard had opened. For a daemon whose guard has died: its own CAP_NET_ADMIN is enough to remove rules and routes of ours. Bounded in
 * time, since the process is to end now.
 */
export async function cleanWithoutGuard(device: string, pf?: number): Promise<void> {
  if (pf !== undefined) {
    const { flushAnchor } = await import('../platform/freebsd/local.js');
    return flushAnchor(pf);
  }
  await Promise.race([
    localHostNetwork()
      .clean(device)
      .catch(() => undefined),
    new Promise((resolve) => setTimeout(resolve, 3000)),
  ]);
}

let client: GuardClient | undefined;

/** The guard this process runs under, if any. Once per process. */
export function connectToGuard(): GuardClient | undefined {
  const text = process.env[GUARD_FD];
  if (client === undefined && text !== undefined && /^\d+$/.test(text))
    client = new GuardClient(Number(text));
  return client;
}
