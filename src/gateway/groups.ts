// SPDX-License-Identifier: BSD-2-Clause

/**
 * Connections by the mapping they go by. The plan is worked out once for all of them, and again when the mapping or a path
 * changes; what follows from it is each connection's own (reconcile). A group without connections is kept for the next one, as
 * long as nothing has changed since its plan was made from nothing.
 */
import { pathKey, type Mapping, type Path } from '../lisp/mapping.js';
import type { Connection } from './connection.js';

export class Group {
  readonly connections = new Set<Connection>();
  paths: Path[] = [];
  /** No pair of the plan is there because it was in use before. */
  fresh = true;
  constructor(
    readonly key: string,
    public mapping: Mapping,
  ) {}
}

/** Of those without connections. */
const MAX_EMPTY = 1000;

export const groupKey = (iid: number, eid: string): string => `${iid} ${eid}`;

export class Groups {
  private readonly groups = new Map<string, Group>();
  private readonly empty = new Set<Group>();

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
      group.fresh = group.connections.size === 0;
      group.paths = this.planFor(mapping, group.fresh ? [] : group.paths);
    }
    return group;
  }

  /** @returns whether the set of paths is another one now, for its connections to follow */
  replan(group: Group): boolean {
    if (group.connections.size === 0) {
      this.drop(group);
      return false;
    }
    group.fresh = false;
    const before = new Set(group.paths.map(pathKey));
    group.paths = this.planFor(group.mapping, group.paths);
    return group.paths.length !== before.size || group.paths.some((path) => !before.has(pathKey(path)));
  }

  join(connection: Connection, group: Group): void {
    if (connection.group === group) return;
    this.leave(connection);
    connection.group = group;
    group.connections.add(connection);
    this.empty.delete(group);
  }

  leave(connection: Connection): void {
    const group = connection.group;
    if (group === undefined) return;
    connection.group = undefined;
    group.connections.delete(connection);
    this.tidy(group);
  }

  /** A group that has lost its last connection, or was looked up and got none. */
  tidy(group: Group): void {
    if (group.connections.size > 0) return;
    if (!group.fresh || this.empty.size >= MAX_EMPTY) this.drop(group);
    else this.empty.add(group);
  }

  private drop(group: Group): void {
    this.empty.delete(group);
    this.groups.delete(group.key);
  }
}
