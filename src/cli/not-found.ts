// SPDX-License-Identifier: BSD-2-Clause
import type { Hook } from '@oclif/core';
import { usage } from './failure.js';

/** `amptcp mappings list` -> no such command, and which one it resembles. */
const hook: Hook.CommandNotFound = async function ({ id, config }) {
  const parent = id.slice(0, id.lastIndexOf(':'));
  if (config.commandIDs.includes(parent)) {
    throw usage(
      `'amptcp ${parent.replaceAll(':', ' ')}' takes no argument '${id.slice(parent.length + 1)}'.`,
    );
  }
  const { nearest } = await import('../daemon/config.js');
  const words = (commandId: string): string => commandId.replaceAll(':', ' ');
  const known = config.commands.filter((command) => !command.hidden).map((command) => words(command.id));
  const topics = config.topics.map((topic) => words(topic.name));
  const suggestion = nearest(words(id), [...known, ...topics]);
  throw usage(
    `There is no command '${words(id)}'.`,
    suggestion === undefined
      ? "'amptcp help' lists the commands."
      : `Did you mean 'amptcp ${suggestion}'? 'amptcp help' lists the commands.`,
  );
};
export default hook;
