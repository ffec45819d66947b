// SPDX-License-Identifier: BSD-2-Clause

/** One running amptcpd: its parts started in order, reloaded all or nothing, stopped in the reverse order. */
import type { Gateway } from '../gateway/gateway.js';
import type { Platform } from '../platform/platform.js';
import { loadConfig, formatProblem } from './config.js';
import type { Config } from './config.types.js';
import type { Logger } from './log.js';
import { applicable, diffConfig, type ConfigDiff } from './reload.js';
import { createGateway, gatewayOptions, NO_MAPPINGS, proxies } from './roles/gateway.js';
import { LispSite, tunnels } from './roles/lisp.js';
import type { State } from './state.js';
import { VERSION } from './version.js';

export type DaemonState = 'starting' | 'running' | 'draining';

export class Daemon {
  readonly version = VERSION;
  readonly startedAt = new Date();
  loadedAt = this.startedAt;
  state: DaemonState = 'starting';
  lisp: LispSite | undefined;
  gateway: Gateway | undefined;
  /** What a reload could not put into effect. */
  awaitingRestart: string[] = [];
  private readonly undo: { what: string; how: () => Promise<void> | void }[] = [];
  private reloading: Promise<ConfigDiff> | undefined;
  private stopping: Promise<void> | undefined;

  constructor(
    readonly platform: Platform,
    readonly configFile: string,
    public config: Config,
    readonly log: Logger,
    readonly persistent: State,
  ) {}

  /** @throws PlatformError and others; everything that was made until then is taken back. */
  async start(): Promise<void> {
    const { platform, config, log } = this;
    try {
      if (platform.close !== undefined) {
        const close = platform.close.bind(platform);
        this.undo.push({ what: "the host's network", how: close });
      }
      await platform.configure?.(this.hostOptions(config));
      if (tunnels(config) || config.roles.includes('map-server')) {
        this.lisp = new LispSite(platform, config, log, this.persistent, () => void this.restoreRoutes());
        this.undo.push({ what: 'LISP', how: () => this.lisp?.stop() });
        await this.lisp.start();
      }
      if (proxies(config)) {
        this.undo.push({ what: 'connector', how: () => platform.connector.stop() });
        await platform.connector.start();
        this.undo.push({ what: 'relay', how: () => platform.relay.stop() });
        await platform.relay.start();
        const gateway = createGateway(platform, this.lisp?.xtr ?? NO_MAPPINGS, config, log);
        await gateway.start();
        this.gateway = gateway;
        this.undo.push({
          what: 'gateway',
          how: () => gateway.stop(this.config.relay.drainSeconds * 1000),
        });
      }
    } catch (error) {
      await this.takeBack();
      throw error;
    }
    this.state = 'running';
    log.info(
      {
        event: 'started',
        version: VERSION,
        platform: platform.name,
        roles: config.roles,
        device: this.lisp?.device,
      },
      'amptcpd is running',
    );
  }

  /** Reads the file again. @throws ConfigError, PlatformError; then the configuration before is in effect. */
  reload(): Promise<ConfigDiff> {
    this.reloading ??= this.reloadOnce().finally(() => (this.reloading = undefined));
    return this.reloading;
  }

  private async reloadOnce(): Promise<ConfigDiff> {
    const { config: wanted, warnings } = loadConfig(this.configFile);
    const before = this.config;
    const diff = diffConfig(before, wanted);
    const next = applicable(before, wanted);
    try {
      await this.apply(next);
    } catch (error) {
      this.log.error({ err: error }, 'reload failed: going back to the configuration before');
      await this.apply(before).catch((second: unknown) =>
        this.log.error({ err: second }, 'going back failed as well: restart the daemon'),
      );
      throw error;
    }
    this.config = next;
    this.loadedAt = new Date();
    this.awaitingRestart = diff.restart;
    for (const warning of warnings) this.log.warn({}, formatProblem(this.configFile, warning));
    this.log.info({ event: 'reloaded', ...diff }, 'configuration reloaded');
    return diff;
  }

  private async apply(config: Config): Promise<void> {
    this.log.level = config.log.level;
    await this.platform.configure?.(this.hostOptions(config));
    await this.lisp?.update(config);
    await this.gateway?.update(gatewayOptions(config));
  }

  /** Ends within the drain time and a little more. Never rejects. */
  stop(): Promise<void> {
    this.stopping ??= (async () => {
      this.state = 'draining';
      this.log.info({ event: 'stopping', connections: this.gateway?.active ?? 0 }, 'stopping');
      await this.reloading?.catch(() => undefined);
      await this.takeBack();
      this.log.info({ event: 'stopped' }, 'stopped');
    })();
    return this.stopping;
  }

  private async takeBack(): Promise<void> {
    for (const { what, how } of this.undo.splice(0).reverse()) {
      try {
        await how();
      } catch (error) {
        this.log.error({ err: error }, `stopping ${what} failed`);
      }
    }
  }

  private async restoreRoutes(): Promise<void> {
    try {
      await this.platform.configure?.(this.hostOptions(this.config));
    } catch (error) {
      this.log.error({ err: error }, 'restoring the routes of an RLOC failed');
    }
  }

  private hostOptions(config: Config): Parameters<NonNullable<Platform['configure']>>[0] {
    return {
      rlocs: config.rlocs.map(({ address, interface: name, gateway }) => ({
        address,
        interface: name,
        gateway,
      })),
      localPrefixes: config.roles.includes('access') ? config.intercept.nat : [],
      // Their packets come back by LISP, so they are EIDs of this site.
      clientPrefixes:
        proxies(config) && config.intercept.source === 'client'
          ? config.lisp.database.filter(({ iid }) => iid === config.lisp.iid).map(({ eid }) => eid)
          : [],
    };
  }
}
