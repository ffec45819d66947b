// SPDX-License-Identifier: BSD-2-Clause
import { Command, Flags, type Interfaces } from '@oclif/core';
import { ApiClient } from './client.js';
import { EXIT_COMMON, EXIT_DAEMON, type ExitCode } from './exit-codes.js';
import { asFailure, failureJson } from './failure.js';
import { output } from './output.js';
import { configuredSocket } from './socket.js';

/**
 * What every command has: `--json`, and failures that set the exit status and are one sentence (or one JSON object).
 * A command gets the facts, prints them for people by `this.print()`, and returns them for `--json`.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;

  static override baseFlags: Interfaces.FlagInput = {
    json: Flags.boolean({ description: 'Print JSON instead of text.', helpGroup: 'GLOBAL' }),
  };

  /** Shown in help. */
  static exitCodes: readonly ExitCode[] = EXIT_COMMON;

  /** A line (or several) for people; silent with --json. */
  protected print(text: string): void {
    if (!this.jsonEnabled()) output.stdout(`${text}\n`);
  }

  override logJson(json: unknown): void {
    output.stdout(`${JSON.stringify(json, null, 2)}\n`);
  }

  /** oclif would exit with 1 and print the error object with all that hangs on it. */
  protected override async catch(error: Error & { exitCode?: number }): Promise<void> {
    const failure = asFailure(error);
    if (failure === undefined || !this.jsonEnabled()) throw error;
    process.exitCode = failure.exit;
    this.logJson(failureJson(failure));
  }
}

/** A command that asks the daemon. */
export abstract class DaemonCommand extends BaseCommand {
  static override exitCodes: readonly ExitCode[] = EXIT_DAEMON;

  static override baseFlags = {
    ...BaseCommand.baseFlags,
    socket: Flags.string({
      description: "The daemon's socket; by default the one that its configuration names.",
      env: 'AMPTCP_SOCKET',
      helpGroup: 'GLOBAL',
      helpValue: 'PATH',
    }),
  };

  protected async api(flags: { socket?: string }): Promise<ApiClient> {
    return new ApiClient(flags.socket ?? (await configuredSocket()));
  }

  /**
   * Once, or with --watch until interrupted: on a terminal the screen is painted anew, elsewhere (and as JSON) one look
   * follows the other.
   */
  protected async show<T>(
    flags: { watch?: boolean; interval?: number },
    look: () => Promise<T>,
    render: (now: T, before: { value: T; elapsedMs: number } | undefined) => string,
  ): Promise<T | undefined> {
    if (!flags.watch && flags.interval === undefined) {
      const value = await look();
      this.print(render(value, undefined));
      return value;
    }
    let before: { value: T; at: number } | undefined;
    for (;;) {
      const value = await look();
      const at = performance.now();
      if (this.jsonEnabled()) {
        output.stdout(`${JSON.stringify(value)}\n`);
      } else {
        const text = render(value, before && { value: before.value, elapsedMs: at - before.at });
        output.stdout(process.stdout.isTTY ? `\x1b[H\x1b[2J${text}\n` : `${text}\n\n`);
      }
      before = { value, at };
      await new Promise((resolve) => setTimeout(resolve, (flags.interval ?? 1) * 1000));
    }
  }
}
