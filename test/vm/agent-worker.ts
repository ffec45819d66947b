// SPDX-License-Identifier: BSD-2-Clause

/** The thread that reads and writes the link, so that the main one can stand still until an answer is there. */
import { connect } from 'node:net';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';

interface Data {
  port: number;
  host: string;
  /** Counts what was posted; waited upon. */
  posted: SharedArrayBuffer;
  answers: MessagePort;
}

const { port, host, posted, answers } = workerData as Data;
const counter = new Int32Array(posted);
const post = (message: unknown): void => {
  answers.postMessage(message);
  Atomics.add(counter, 0, 1);
  Atomics.notify(counter, 0);
};

const socket = connect({ port, host, noDelay: true });
let rest = '';
socket.setEncoding('utf8');
socket.on('connect', () => post({ connected: true }));
socket.on('data', (chunk: string) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) post(JSON.parse(line));
});
socket.on('error', (error) => post({ gone: error.message }));
socket.on('close', () => post({ gone: 'the agent closed the connection' }));
parentPort!.on('message', (message: string) => socket.write(message));
