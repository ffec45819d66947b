#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause

/** amptcpd: arguments, signals, exit codes. With `user` in the configuration this process stays as the guard. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cleanWithoutGuard, connectToGuard, runGuard } from '../guard/index.js';
import { PlatformError } from '../platform/platform.js';
import { ConfigError, DEFAULT_CONFIG, formatProblem, loadConfig, type LoadedConfig } from './config.js';
import { EXIT } from './exit-codes.js';
import { createLog } from './log.js';
import { AlreadyRunning, claimSocket, isAnswering } from './socket.js';
import { State } from './state.js';
import { VERSION } from './version.js';

const USAGE = `usage: amptcpd [--config FILE]          run in the foreground
       amptcpd -n [--config FILE]       check the configuration and exit
       amptcpd --clean [--config FILE]  remove what a killed daemon left behind
       amptcpd --version | --help

FILE is ${DEFAULT_CONFIG} unless told otherwise.
SIGHUP reloads the configuration, all or nothing. SIGTERM and SIGINT stop: no new
connections, the present ones get relay.drain_seconds, then every rule, route and
device is removed.

exit codes:
   0  done
   1  failed unexpectedly
  64  wrong arguments
  69  something the roles need is missing on this host
  73  a directory, socket or file could not be made
  75  another amptcpd runs with this configuration
  77  not permitted
  78  the configuration has errors
`;

/** Says why on standard error and ends. */
class Exit extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Arguments {
  config: string;
  check: boolean;
  clean: boolean;
}

function readArguments(argv: string[]): Arguments | 'help' | 'version' {
  let values;
  try {
    ({ values } = parseArgs({
      args: argv,
      options: {
        config: { type: 'string', short: 'c', default: DEFAULT_CONFIG },
        check: { type: 'boolean', short: 'n', default: false },
        clean: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', short: 'V', default: false },
      },
    }));
  } catch (error) {
    throw new Exit(EXIT.usage, `amptcpd: ${(error as Error).message.split('. ')[0]!}\n${USAGE}`);
  }
  if (values.help) return 'help';
  if (values.version) return 'version';
  return { config: values.config, check: values.check, clean: values.clean };
}

function load(file: string): LoadedConfig {
  try {
    return loadConfig(file);
  } catch (error) {
    if (error instanceof ConfigError) throw new Exit(EXIT.config, error.message);
    throw error;
  }
}

async function main(argv: string[]): Promise<number> {
  const options = readArguments(argv);
  if (options === 'help') {
    process.stdout.write(USAGE);
    return EXIT.ok;
  }
  if (options === 'version') {
    process.stdout.write(`amptcpd ${VERSION}\n`);
    return EXIT.ok;
  }
  const { config, warnings } = load(options.config);
  if (options.check) {
    for (const warning of warnings)
      process.stderr.write(`warning: ${formatProblem(options.config, warning)}\n`);
    process.stdout.write(`${options.config}: no errors\n`);
    return EXIT.ok;
  }
  if (options.clean) {
    await refuseIfRunning(config.api.socket);
    const { selectPlatform } = await import('../platform/select.js');
    const platform = await selectPlatform({ device: config.lisp.device });
    await platform.clean();
    await platform.close?.();
    return EXIT.ok;
  }

  const guard = connectToGuard();
  if (config.user !== undefined && guard === undefined) {
    await refuseIfRunning(config.api.socket);
    const log = createLog(config.log.level).child({ process: 'guard' });
    return runGuard({
      command: [process.execPath, fileURLToPath(import.meta.url), '--config', options.config],
      user: config.user,
      group: config.group,
      directories: [
        { path: config.stateDir, mode: 0o750 },
        { path: dirname(config.api.socket), mode: 0o755 },
      ],
      device: config.lisp.device,
      log: (level, message) => log[level](message),
    });
  }

  // The guard has no need of any of these, so it does not load them.
  const [{ selectPlatform }, { ApiServer }, { Daemon }, { proxies }, { tunnels }] = await Promise.all([
    import('../platform/select.js'),
    import('./api/server.js'),
    import('./daemon.js'),
    import('./roles/gateway.js'),
    import('./roles/lisp.js'),
  ]);
  const log = createLog(config.log.level);
  for (const warning of warnings) log.warn({}, formatProblem(options.config, warning));
  let state: State;
  try {
    mkdirSync(dirname(config.api.socket), { recursive: true, mode: 0o755 });
    state = new State(config.stateDir);
  } catch (error) {
    throw new Exit(EXIT.cannotCreate, `amptcpd: ${(error as Error).message}`);
  }
  // The socket is also the lock: whoever answers on it is the daemon.
  const socket = await claimSocket(config.api, guard, (message) => log.warn({}, message)).catch(
    (error: unknown) => {
      if (error instanceof AlreadyRunning) throw error;
      throw new Exit(EXIT.cannotCreate, `amptcpd: ${(error as Error).message}`);
    },
  );
  const platform = await selectPlatform({
    host: guard,
    freebsdHost: process.platform === 'freebsd' ? guard?.freeBsdHost() : undefined,
    relayThreads: config.relay.threads,
    device: config.lisp.device,
    plane: config.lisp.plane,
    warn: (message) => log.warn({}, message),
  });
  const daemon = new Daemon(platform, options.config, config, log, state);
  const api = new ApiServer(daemon);

  let finish: (status: number) => void = () => undefined;
  const finished = new Promise<number>((resolve) => (finish = resolve));
  const stop = (): void => void daemon.stop().then(() => finish(EXIT.ok));
  let started = false;
  let stopAsked = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stopAsked = true;
      if (started) stop();
    });
  }
  process.on('SIGHUP', () => {
    if (!started) return;
    daemon.reload().catch((error: unknown) => {
      if (error instanceof ConfigError) {
        for (const problem of error.problems)
          log.error({ event: 'reload-refused', ...problem }, formatProblem(error.file, problem));
      } else log.error({ event: 'reload-failed', err: error }, 'reload failed');
    });
  });
  process.on('unhandledRejection', (reason) => log.error({ err: reason }, 'unhandled rejection'));
  // Rules that lead to nobody would stop the clients: they go even when this process may not run pfctl(8).
  const pf =
    process.platform === 'freebsd'
      ? await guard
          ?.freeBsdHost()
          .open('pf')
          .catch(() => undefined)
      : undefined;
  guard?.onGuardGone(() => {
    log.fatal({ event: 'guard-gone' }, 'the guard is gone: removing our rules and ending');
    void cleanWithoutGuard(config.lisp.device, pf).then(
      () => process.exit(1),
      () => process.exit(1),
    );
  });

  try {
    // What a killed predecessor left would be in the way; a guard has taken care of it.
    if (guard === undefined && (tunnels(config) || proxies(config))) await platform.clean();
    await api.start(socket);
    await daemon.start();
  } catch (error) {
    await api.stop();
    const code = (error as Partial<PlatformError>).code;
    const status =
      code === 'EPERM' || code === 'EACCES'
        ? EXIT.noPermission
        : error instanceof PlatformError
          ? EXIT.unavailable
          : 1;
    log.fatal({ event: 'start-failed', err: error }, `cannot start: ${(error as Error).message}`);
    throw new Exit(status, `amptcpd: cannot start: ${(error as Error).message}`);
  }
  started = true;
  if (stopAsked) stop();
  const status = await finished;
  await api.stop();
  return status;
}

async function refuseIfRunning(socket: string): Promise<void> {
  if (await isAnswering(socket)) throw new AlreadyRunning(socket);
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    if (error instanceof Exit) {
      process.stderr.write(error.message.endsWith('\n') ? error.message : `${error.message}\n`);
      process.exit(error.status);
    }
    if (error instanceof AlreadyRunning) {
      process.stderr.write(`amptcpd: ${error.message}\n`);
      process.exit(EXIT.running);
    }
    process.stderr.write(
      `amptcpd: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit((error as NodeJS.ErrnoException).code === 'EACCES' ? EXIT.noPermission : 1);
  },
);
