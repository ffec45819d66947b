// SPDX-License-Identifier: BSD-2-Clause

/**
 * Values by (instance-id, prefix), found exactly or by longest match. One path-compressed binary trie per instance-id and
 * address family: every node but the root has a value or two children, so it is never deeper than the prefixes are many,
 * nor than an address is long.
 */
import { bitAt, commonLength, type Prefix } from './prefix.js';

interface Node<V> {
  prefix: Prefix | Branch;
  entry: { value: V } | undefined;
  children: [Node<V> | undefined, Node<V> | undefined];
}

/** Where two prefixes part; only its first `length` bits mean anything. */
interface Branch {
  bytes: Uint8Array;
  length: number;
}

interface Root<V> {
  iid: number;
  family: 4 | 6;
  node: Node<V>;
}

const contains = (outer: Branch, inner: Branch): boolean =>
  outer.length <= inner.length && commonLength(outer, inner) === outer.length;

const leaf = <V>(prefix: Prefix, value: V): Node<V> => ({
  prefix,
  entry: { value },
  children: [undefined, undefined],
});

export class PrefixTable<V> {
  private readonly roots = new Map<string, Root<V>>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  private root(iid: number, family: 4 | 6): Node<V> | undefined {
    return this.roots.get(`${iid}/${family}`)?.node;
  }

  /** The nodes that contain a prefix, from the root down; the last may be the prefix itself. */
  private path(iid: number, prefix: Prefix): Node<V>[] {
    const nodes: Node<V>[] = [];
    let node = this.root(iid, prefix.family);
    while (node && contains(node.prefix, prefix)) {
      nodes.push(node);
      node =
        node.prefix.length < prefix.length
          ? node.children[bitAt(prefix.bytes, node.prefix.length)]
          : undefined;
    }
    return nodes;
  }

  private exact(iid: number, prefix: Prefix): Node<V> | undefined {
    const last = this.path(iid, prefix).at(-1);
    return last?.prefix.length === prefix.length ? last : undefined;
  }

  get(iid: number, prefix: Prefix): V | undefined {
    return this.exact(iid, prefix)?.entry?.value;
  }

  set(iid: number, prefix: Prefix, value: V): void {
    const key = `${iid}/${prefix.family}`;
    let root = this.roots.get(key);
    if (!root) {
      const bytes = new Uint8Array(prefix.bytes.length);
      root = {
        iid,
        family: prefix.family,
        node: { prefix: { bytes, length: 0 }, entry: undefined, children: [undefined, undefined] },
      };
      this.roots.set(key, root);
    }
    const parent = this.path(iid, prefix).at(-1)!;
    if (parent.prefix.length === prefix.length) {
      if (!parent.entry) this.count++;
      parent.prefix = prefix;
      parent.entry = { value };
      return;
    }
    this.count++;
    const side = bitAt(prefix.bytes, parent.prefix.length);
    const child = parent.children[side];
    if (!child) {
      parent.children[side] = leaf(prefix, value);
      return;
    }
    // The child does not contain the prefix: either the prefix contains it, or they part somewhere.
    const length = commonLength(child.prefix, prefix);
    const between: Node<V> =
      length === prefix.length
        ? leaf(prefix, value)
        : { prefix: { bytes: prefix.bytes, length }, entry: undefined, children: [undefined, undefined] };
    between.children[bitAt(child.prefix.bytes, length)] = child;
    if (length < prefix.length) between.children[bitAt(prefix.bytes, length)] = leaf(prefix, value);
    parent.children[side] = between;
  }

  delete(iid: number, prefix: Prefix): boolean {
    const path = this.path(iid, prefix);
    const node = path.at(-1);
    if (!node?.entry || node.prefix.length !== prefix.length) return false;
    node.entry = undefined;
    this.count--;
    // Nodes that are neither value nor fork go, from the bottom up; two at most.
    for (let index = path.length - 1; index > 0; index--) {
      const { entry, children, prefix: at } = path[index]!;
      if (entry || (children[0] && children[1])) break;
      const parent = path[index - 1]!;
      parent.children[bitAt(at.bytes, parent.prefix.length)] = children[0] ?? children[1];
    }
    const root = path[0]!;
    if (!root.entry && !root.children[0] && !root.children[1]) this.roots.delete(`${iid}/${prefix.family}`);
    return true;
  }

  /** The longest prefix that contains all of `prefix` and whose value is accepted. */
  match(iid: number, prefix: Prefix, accept: (value: V) => boolean = () => true): V | undefined {
    return this.path(iid, prefix).findLast(({ entry }) => entry && accept(entry.value))?.entry?.value;
  }

  /** Every value whose prefix contains all of `prefix`, the longest first. */
  matches(iid: number, prefix: Prefix): V[] {
    return this.path(iid, prefix)
      .flatMap(({ entry }) => (entry ? [entry.value] : []))
      .reverse();
  }

  /** Every value whose prefix lies inside `prefix`, itself included, sorted. */
  within(iid: number, prefix: Prefix): V[] {
    let node = this.root(iid, prefix.family);
    while (node && node.prefix.length < prefix.length) {
      node = contains(node.prefix, prefix)
        ? node.children[bitAt(prefix.bytes, node.prefix.length)]
        : undefined;
    }
    return node && contains(prefix, node.prefix) ? collect(node) : [];
  }

  /**
   * How many leading bits a prefix shares with the one that it shares most with, of those that do not contain it;
   * -1 where there is none.
   */
  longestShared(iid: number, prefix: Prefix): number {
    let shared = -1;
    let node = this.root(iid, prefix.family);
    while (node && contains(node.prefix, prefix)) {
      if (node.prefix.length === prefix.length)
        return node.children[0] || node.children[1] ? prefix.length : shared;
      const side = bitAt(prefix.bytes, node.prefix.length);
      // There is a value behind every child.
      if (node.children[1 - side]) shared = node.prefix.length;
      node = node.children[side];
    }
    return node ? commonLength(node.prefix, prefix) : shared;
  }

  /** Sorted by instance-id, then as prefixes sort. */
  values(): V[] {
    return [...this.roots.values()]
      .sort((a, b) => a.iid - b.iid || a.family - b.family)
      .flatMap(({ node }) => collect(node));
  }

  clear(): void {
    this.roots.clear();
    this.count = 0;
  }
}

/** Depth first: a node, then its lower half, then its upper half, which is the order of prefixes. */
function collect<V>(from: Node<V>): V[] {
  const values: V[] = [];
  const stack = [from];
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (node.entry) values.push(node.entry.value);
    if (node.children[1]) stack.push(node.children[1]);
    if (node.children[0]) stack.push(node.children[0]);
  }
  return values;
}
