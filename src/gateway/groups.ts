// SPDX-License-Identifier: BSD-2-Clause

/**
 * Connections by the mapping they go by. The plan is worked out once for all of them, and again when the mapping or a path
 * changes; what follows from it is each connection's own (reconcile).
 */
import { pathKey, type Mapping, type Path } from '../lisp/mapping.js';
import type { Connection } from './connection.js';

export class Group {
  readonly connections = new Set<Connection>();
  paths: Path[] = [];
  constructor(
    readonly key: string,
    public mapping: Mapping,
  ) {}
}

export const groupKey = (iid: number, eid: string): string => `${iid} ${eid}`;

export class Groups {
  private readonly groups = new Map<string, Group>();

  constructor(private readonly planFor: (mapping: Mapping, keep: readonly Path[]) => Path[]) {}

  [Symbol.iterator](): IterableIterator<Group> {
    return this.groups.values();
  }

  /** The group of a mapping, its plan up to date. */
  of(mapping: Mapping): Group {
    const key = groupKey(mapping.iid, mapping.eid);
    let group = this.groups.get(key);
    if (group === undefined) {
      group = new Group(key, mapping);
      group.paths = this.planFor(mapping, []);
      this.groups.set(key, group);
    } else if (group.mapping !== mapping) {
      group.mapping = mapping;
      group.paths = this.planFor(mapping, group.paths);
    }
    return group;
  }

  /** @returns whether the set of paths is another one now */
  replan(group: Group): boolean {
    const before = new Set(group.paths.map(pathKey));
    group.paths = this.planFor(group.mapping, group.paths);
    return group.paths.length !== before.size || group.paths.some((path) => !before.has(pathKey(path)));
  }

  join(connection: Connection, group: Group): void {
    if (connection.group === group) return;
    this.leave(connection);
    connection.group = group;
    group.connections.add(connection);
  }

  leave(connection: Connection): void {
    const group = connection.group;
    if (group === undefined) return;
    connection.group = undefined;
    group.connections.delete(connection);
    // Kept while in use only: a new connection works the plan out again, from fresher knowledge.
    if (group.connections.size === 0) this.groups.delete(group.key);
  }

  /** Forgets a group that was looked up and got no connection after all. */
  tidy(group: Group): void {
    if (group.connections.size === 0) this.groups.delete(group.key);
  }
}
