// SPDX-License-Identifier: BSD-2-Clause

/**
 * Loaded before a program (`node --import`), it makes that program's kernel the guest's: amptcpd, unchanged, finds itself on
 * FreeBSD. What would reach the kernel goes to an agent there (guest/programs/agent.c), whose address AMPTCP_AGENT names; what
 * stays here is files, the API's socket and the channel between guard and daemon.
 *
 *   guard (here, root) ----- AMPTCP_AGENT ---> agent (guest, root)
 *     | spawns with uid                          | starts with the same uid
 *   daemon (here, amptcp) -- AMPTCP_AGENT ---> agent (guest, amptcp)
 *
 * A descriptor of the guest's is a number from REMOTE up. Sent over the channel, it is handed over between the two agents.
 */
import childProcess, { type ChildProcess, type SpawnOptions } from 'node:child_process';
import dgram from 'node:dgram';
import { EventEmitter } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { PassThrough, Writable } from 'node:stream';
import { isMainThread } from 'node:worker_threads';
import type { Native } from '../../src/native/index.js';
import type { NativeDescriptors } from '../../src/native/linux/sockets.types.js';
import { AgentLink, remoteNative } from './agent-link.js';

/** What the agent is told by -f. */
const REMOTE = 1024;
const AGENT = process.env['AMPTCP_AGENT'];

let opened: AgentLink | undefined;
const datagrams = new Map<number, RemoteDatagrams>();

/** Opened when it is first needed: `amptcpd -n` has no need of it. */
function link(): AgentLink {
  if (opened) return opened;
  const [host = '', port] = AGENT!.split(':');
  opened = AgentLink.openSync(host, Number(port));
  opened.on<{ descriptor: number; address: string; port: number; data: string }>(
    'datagram',
    ({ descriptor, address, port: from, data }) =>
      datagrams.get(descriptor)?.emit('message', Buffer.from(data, 'hex'), {
        address,
        port: from,
        family: '',
        size: data.length / 2,
      }),
  );
  return opened;
}

// ---------------------------------------------------------------- the addon

/** What concerns descriptors of either side. */
function descriptors(own: NativeDescriptors, remote: NativeDescriptors): NativeDescriptors {
  const there = (descriptor: number): boolean => descriptor >= REMOTE;
  return {
    ...own,
    close: (descriptor) => (there(descriptor) ? remote : own).close(descriptor),
    reset: (descriptor) => (there(descriptor) ? remote : own).reset(descriptor),
    openListener: (...words) => remote.openListener(...words),
    localPort: (descriptor) => remote.localPort(descriptor),
    sendMessage(descriptor, data, sent) {
      const handed = sent.filter(there);
      for (const each of handed) link().call('handOver', each);
      own.sendMessage(
        descriptor,
        Buffer.concat([Buffer.of(handed.length), data]),
        sent.filter((each) => !there(each)),
      );
    },
    openChannel: (descriptor, onMessage) =>
      own.openChannel(descriptor, (data, received) => {
        if (data === undefined) return onMessage(data, received);
        const taken = Array.from({ length: data[0]! }, () => link().call('takeOver') as number);
        onMessage(data.subarray(1), [...taken, ...received]);
      }),
  };
}

function replaceAddon(): void {
  const load = process.dlopen.bind(process) as (module: { exports: Native }, ...rest: unknown[]) => void;
  process.dlopen = (module: object, ...rest: unknown[]): void => {
    const addon = module as { exports: Native };
    load(addon, ...rest);
    const { descriptors: own, plane } = addon.exports;
    const { native } = remoteNative(link());
    addon.exports = {
      ...native,
      ...(plane && { plane }),
      descriptors: descriptors(own!, native.descriptors!),
    };
  };
}

// ---------------------------------------------------------------- programs

/** Runs a program of the guest's to its end. */
function runThere(
  program: string,
  args: readonly string[],
  input: string,
): { status: number; output: string } {
  return link().call('run', input, program, ...args) as { status: number; output: string };
}

function execFileThere(program: string, args: readonly string[], ...rest: unknown[]): ChildProcess {
  const callback = rest.at(-1) as (error: Error | null, stdout: string, stderr: string) => void;
  let input = '';
  const stdin = new Writable({
    write(chunk: Buffer, _encoding, done) {
      input += chunk.toString();
      done();
    },
  });
  setImmediate(() => {
    try {
      const { status, output } = runThere(program, args, input);
      if (status === 0) callback(null, output, '');
      else
        callback(Object.assign(new Error(`${program} ended with ${status}`), { code: status }), '', output);
    } catch (error) {
      callback(error as Error, '', '');
    }
  });
  return Object.assign(new EventEmitter(), { stdin }) as unknown as ChildProcess;
}

function spawnThere(program: string, args: readonly string[]): ChildProcess {
  const child = Object.assign(new EventEmitter(), { stdout: new PassThrough(), stderr: new PassThrough() });
  setImmediate(() => {
    try {
      const { status, output } = runThere(program, args, '');
      child.stdout.end(output);
      child.stderr.end();
      child.stdout.on('end', () => child.emit('close', status));
    } catch (error) {
      child.emit('error', error);
    }
  });
  return child as unknown as ChildProcess;
}

function replacePrograms(): void {
  const spawn = childProcess.spawn.bind(childProcess) as (
    program: string,
    args: readonly string[],
    options: SpawnOptions,
  ) => ChildProcess;
  childProcess.execFile = execFileThere as typeof childProcess.execFile;
  childProcess.spawn = ((program: string, args: readonly string[], options: SpawnOptions): ChildProcess => {
    if (program !== process.execPath) return spawnThere(program, args);
    if (options.uid === undefined) return spawn(program, args, options);
    const port = link().call('spawn', options.uid, options.gid) as number;
    const agent = `${AGENT!.split(':')[0]}:${port}`;
    return spawn(program, args, { ...options, env: { ...options.env, AMPTCP_AGENT: agent } });
  }) as typeof childProcess.spawn;
}

// ---------------------------------------------------------------- LISP control messages

class RemoteDatagrams extends EventEmitter {
  #descriptor = -1;

  bind({ address, port }: { address: string; port: number }, bound: () => void): this {
    setImmediate(() => {
      try {
        this.#descriptor = link().call('udp.open', address, port) as number;
      } catch (error) {
        this.emit('error', error);
        return;
      }
      datagrams.set(this.#descriptor, this);
      bound();
    });
    return this;
  }

  send(data: Uint8Array, port: number, address: string, done: (error: Error | null) => void): void {
    try {
      link().call('udp.send', this.#descriptor, address, port, Buffer.from(data).toString('hex'));
      done(null);
    } catch (error) {
      done(error as Error);
    }
  }

  close(): void {
    if (!datagrams.delete(this.#descriptor)) return;
    link().call('udp.close', this.#descriptor);
  }
}

function replaceNetwork(): void {
  dgram.createSocket = (() => new RemoteDatagrams()) as unknown as typeof dgram.createSocket;
  os.networkInterfaces = () => {
    const found: ReturnType<typeof os.networkInterfaces> = {};
    for (const { name, address } of link().call('interfaces') as { name: string; address: string }[])
      (found[name] ??= []).push({
        address,
        family: address.includes(':') ? 'IPv6' : 'IPv4',
        netmask: '',
        mac: '',
        internal: false,
        cidr: null,
      } as os.NetworkInterfaceInfoIPv4);
    return found;
  };
}

if (isMainThread && AGENT !== undefined) {
  Object.defineProperty(process, 'platform', { value: 'freebsd' });
  replaceAddon();
  replacePrograms();
  replaceNetwork();
  syncBuiltinESMExports();
}
