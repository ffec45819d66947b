// SPDX-License-Identifier: BSD-2-Clause

/**
 * The LISP side of any role: control plane (xTR and map-server), its datagrams, and the data plane that is told what the
 * control plane knows.
 *
 *   ControlTransport <-> ControlPlane --mappings, path states--> LispDataPlane
 *                             ^------------- misses, MTU ------------'
 *                             '---- received, live, suspect ---- PathWatcher (counters)
 */
import { randomBytes } from 'node:crypto';
import { ControlPlane, type ControlPlaneOptions } from '../../lisp/control-plane.js';
import { Counters } from '../../lisp/environment.js';
import type { Mapping } from '../../lisp/mapping.js';
import type { MappingChange } from '../../lisp/mapping-system.js';
import type { MapServer } from '../../lisp/map-server.js';
import { nativeRoutes } from '../../lisp/native-routes.js';
import type { Xtr } from '../../lisp/xtr.js';
import { PathWatcher } from '../../gateway/watch.js';
import type { Platform, PlaneEvent, PlaneOptions } from '../../platform/platform.js';
import { RlocWatcher } from '../rloc-watcher.js';
import type { Config, Role } from '../config.types.js';
import type { Logger } from '../log.js';
import type { State } from '../state.js';

/** RFC 9301 section 4: LISP control messages. */
const CONTROL_PORT = 4342;

/** Whether these roles carry packets in LISP; a data-centre gateway may also stand behind an xTR. */
export const tunnels = (config: Config): boolean =>
  config.roles.some((role: Role) => role === 'access' || role === 'xtr') ||
  (config.roles.includes('data-centre') && config.rlocs.length > 0);

const controlOptions = (config: Config): ControlPlaneOptions => ({
  ...(tunnels(config) && {
    xtr: {
      iid: config.lisp.iid,
      rlocs: config.rlocs,
      mapResolvers: config.lisp.mapResolvers,
      mapServers: config.lisp.mapServers,
      database: config.lisp.database,
      requestTimeoutMs: config.lisp.requestTimeoutMs,
      requestRetries: config.lisp.requestRetries,
      registerIntervalSeconds: config.lisp.registerIntervalSeconds,
      probe: config.lisp.probe,
    },
  }),
  ...(config.roles.includes('map-server') && { mapServer: config.mapServer }),
});

/** Changes of the map-cache come in bursts. */
const REROUTE_MS = 50;

const forwardsNatively = ({ locators, action }: Mapping): boolean =>
  locators.length === 0 && action === 'natively-forward';

export const localEids = (config: Config): string[] => [
  ...new Set([
    ...config.lisp.database.filter(({ iid }) => iid === config.lisp.iid).map(({ eid }) => eid),
    ...(config.roles.includes('access') ? config.intercept.nat : []),
  ]),
];

const planeOptions = (config: Config, routes: string[]): PlaneOptions => ({
  device: config.lisp.device,
  iid: config.lisp.iid,
  localRlocs: config.rlocs.map(({ address }) => address),
  localEids: localEids(config),
  routes,
  mtu: config.lisp.mtu,
  sourceCheck: config.lisp.sourceCheck,
  glean: config.lisp.glean,
});

const transportAddresses = (config: Config): string[] => [
  ...new Set([
    ...(tunnels(config) ? config.rlocs.map(({ address }) => address) : []),
    ...(config.roles.includes('map-server') ? config.mapServer.addresses : []),
  ]),
];

export class LispSite {
  readonly control: ControlPlane;
  device: { device: string; mtu: number } | undefined;
  private watcher: PathWatcher | undefined;
  private rlocs: RlocWatcher | undefined;
  /** What the host's routing sends into the device now. */
  private routes: string[];
  private routing: unknown;
  /** Natively forwarded prefixes of the map-cache: seldom any. */
  private readonly natives = new Set<string>();
  private readonly started: (() => Promise<void> | void)[] = [];

  constructor(
    private readonly platform: Platform,
    private config: Config,
    private readonly log: Logger,
    private readonly state: State,
    /** A local RLOC is there again; the host may have forgotten its routes with the interface. */
    private readonly onRlocReturned: () => void = () => undefined,
  ) {
    this.routes = config.lisp.routes;
    this.control = new ControlPlane(
      {
        clock: platform.clock,
        random: (octets) => randomBytes(octets),
        wallClock: () => Date.now(),
        send: (datagram) => platform.control.send(datagram),
        log: ({ level, message, ...fields }) => log[level](fields, message),
        counters: new Counters(),
      },
      controlOptions(config),
      {
        load: () => state.loadControl(),
        save: (saved) => state.saveControl(saved),
      },
    );
  }

  get xtr(): Xtr | undefined {
    return this.control.xtr;
  }
  get mapServer(): MapServer | undefined {
    return this.control.mapServer;
  }
  get suspicions(): number {
    return this.watcher?.suspicions ?? 0;
  }

  /** @throws PlatformError; stop() takes back what was started until then. */
  async start(): Promise<void> {
    const { platform, xtr, config, log } = this;
    if (xtr !== undefined) {
      this.device = await platform.plane.start(planeOptions(config, this.routes), (event) =>
        this.onPlane(event),
      );
      this.started.push(() => platform.plane.stop());
      const ends = [
        xtr.onChange((change) => this.onMapping(change)),
        xtr.onPathChange(({ status }) => platform.plane.setPathState(status, status.state !== 'down')),
      ];
      this.watcher = new PathWatcher(platform.clock, platform.plane, xtr, (error) =>
        log.error({ err: error }, 'watching the paths failed'),
      );
      this.started.push(() => {
        this.watcher?.stop();
        for (const end of ends) end();
      });
      this.setStatic(config, undefined);
      for (const { eid, iid, locators } of this.state.listMappings()) xtr.set({ eid, iid, locators }, 'cli');
    }
    await platform.control.start(transportAddresses(config), CONTROL_PORT, (datagram) =>
      this.control.receive(datagram),
    );
    this.started.push(() => platform.control.stop());
    this.control.start();
    this.started.push(() => this.control.stop());
    if (xtr !== undefined && platform.liveAddresses !== undefined) {
      this.rlocs = new RlocWatcher(
        platform.clock,
        () => platform.liveAddresses?.() ?? [],
        config.rlocs.map(({ address }) => address),
        (address, up) => this.onRloc(address, up),
        (error) => log.error({ err: error }, 'looking at the local RLOCs failed'),
      );
      this.rlocs.start();
      this.started.push(() => this.rlocs?.stop());
    }
  }

  async update(config: Config): Promise<void> {
    const before = this.config;
    if (this.xtr !== undefined) {
      const routes = this.wantedRoutes(config);
      await this.platform.plane.update(planeOptions(config, routes));
      this.routes = routes;
    }
    await this.platform.control.update(transportAddresses(config));
    this.control.update(controlOptions(config));
    this.config = config;
    this.rlocs?.update(config.rlocs.map(({ address }) => address));
    if (this.xtr !== undefined) this.setStatic(config, before);
  }

  async stop(): Promise<void> {
    this.platform.clock.clearTimeout(this.routing);
    for (const end of this.started.splice(0).reverse()) await end();
  }

  private setStatic(config: Config, before: Config | undefined): void {
    const key = ({ eid, iid }: { eid: string; iid: number }): string => `${iid} ${eid}`;
    const kept = new Set(config.lisp.mappings.map(key));
    for (const mapping of before?.lisp.mappings ?? []) {
      if (!kept.has(key(mapping))) this.xtr?.delete(mapping.eid, mapping.iid, 'static');
    }
    const old = new Map(before?.lisp.mappings.map((mapping) => [key(mapping), JSON.stringify(mapping)]));
    for (const mapping of config.lisp.mappings) {
      if (old.get(key(mapping)) === JSON.stringify(mapping)) continue;
      const locators = mapping.rlocs.map(({ address, priority, weight }) => ({
        rloc: address,
        priority,
        weight,
      }));
      this.xtr?.set({ eid: mapping.eid, iid: mapping.iid, locators }, 'static');
    }
  }

  private onRloc(address: string, up: boolean): void {
    if (up) this.log.info({ rloc: address }, `the RLOC ${address} is there again`);
    else
      this.log.warn(
        { rloc: address },
        `the RLOC ${address} is gone: its interface is down or has no carrier`,
      );
    if (up) this.onRlocReturned();
    this.xtr?.setLocalRlocState(address, up);
  }

  private onMapping(change: MappingChange): void {
    const { plane } = this.platform;
    try {
      if (change.type === 'set') plane.setMapping(change.mapping);
      else plane.deleteMapping(change.mapping.iid, change.mapping.eid);
    } catch (error) {
      this.log.error({ err: error, eid: change.mapping.eid }, 'the data plane did not take a mapping');
    }
    this.noteNative(change);
  }

  // -------------------------------------------------------------- forwarded natively

  private noteNative({ type, mapping }: MappingChange): void {
    const { config, natives, platform } = this;
    if (mapping.iid !== config.lisp.iid || config.lisp.routes.length === 0) return;
    const before = natives.size;
    if (type === 'set' && forwardsNatively(mapping)) natives.add(mapping.eid);
    else natives.delete(mapping.eid);
    // Mappings through LISP matter where they are inside one that is not.
    if ((before === 0 && natives.size === 0) || this.routing !== undefined) return;
    this.routing = platform.clock.setTimeout(() => {
      this.routing = undefined;
      void this.reroute();
    }, REROUTE_MS);
  }

  private wantedRoutes(config: Config): string[] {
    if (this.natives.size === 0) return config.lisp.routes;
    const mappings = this.xtr?.list(config.lisp.iid) ?? [];
    const { routes, left } = nativeRoutes(
      config.lisp.routes,
      mappings.map((mapping) => ({ eid: mapping.eid, native: forwardsNatively(mapping) })),
    );
    if (left.length > 0)
      this.log.warn(
        { eids: left.slice(0, 10) },
        `too many routes to forward ${left.length} prefixes natively`,
      );
    return routes;
  }

  private async reroute(): Promise<void> {
    const routes = this.wantedRoutes(this.config);
    if (routes.join() === this.routes.join()) return;
    try {
      await this.platform.plane.update(planeOptions(this.config, routes));
      this.routes = routes;
    } catch (error) {
      this.log.error({ err: error }, 'forwarding natively: the routes could not be changed');
    }
  }

  private onPlane(event: PlaneEvent): void {
    switch (event.type) {
      case 'miss':
        this.xtr?.miss(event.iid, event.eid);
        break;
      case 'stray':
        this.xtr?.stray(event);
        break;
      case 'path-mtu':
        this.log.info({ path: event.path, mtu: event.mtu }, "a path's MTU is lower than assumed");
        this.xtr?.notePathMtu(event.path, event.mtu);
        break;
      case 'gleaned':
        break;
    }
  }
}
