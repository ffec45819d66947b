// SPDX-License-Identifier: BSD-2-Clause

/** Native descriptor work for those who may not import the addon themselves: the guard and its client. */
import { nativePart } from '../../native/index.js';
import { LocalHostNetwork } from './host-network.js';
import { detachLispPrograms } from './lisp-programs.js';

/** HostNetwork of this process: needs privilege. */
export const localHostNetwork = (warn?: (message: string) => void): LocalHostNetwork =>
  new LocalHostNetwork(nativePart('descriptors'), undefined, warn, () => detachLispPrograms());

/** A message socket that carries descriptors. */
export interface MessageChannel {
  send(value: unknown, descriptors?: number[]): void;
  close(): void;
}

/** Largest message; both ends give their socket a buffer for it. */
export const MESSAGE_LIMIT = 192 * 1024;

/** Starts reading; `undefined` as message: the other side is gone. */
export function openMessageChannel(
  descriptor: number,
  onMessage: (value: unknown, descriptors: number[]) => void,
): MessageChannel {
  const native = nativePart('descriptors');
  let open = true;
  native.openChannel(descriptor, (data, descriptors) => {
    if (!open) return descriptors.forEach((extra) => native.close(extra));
    if (data === undefined) {
      open = false;
      native.closeChannel();
      onMessage(undefined, []);
      return;
    }
    let value: unknown;
    try {
      value = JSON.parse(data.toString('utf8'));
    } catch {
      value = null;
    }
    onMessage(value, descriptors);
  });
  return {
    send(value, descriptors = []) {
      if (open) native.sendMessage(descriptor, Buffer.from(JSON.stringify(value)), descriptors);
    },
    close() {
      if (open) native.closeChannel();
      open = false;
    },
  };
}

export const socketPair = (): [number, number] => nativePart('descriptors').socketPair();
export const closeDescriptor = (descriptor: number): void => nativePart('descriptors').close(descriptor);
export const openUnixListener = (path: string, mode: number, gid: number): number =>
  nativePart('descriptors').openUnixListener(path, mode, gid);
export const dieWithParent = (): void => nativePart('descriptors').dieWithParent();
/** Two sockets a connection: the soft limit of open files is always too low. */
export const raiseFileLimit = (): { soft: number; hard: number } =>
  nativePart('descriptors').raiseFileLimit();
