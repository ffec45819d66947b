// SPDX-License-Identifier: BSD-2-Clause

/**
 * On which line of a TOML text each key stands, so that an error can point there. The parser proper (smol-toml) has
 * accepted the text before, so this scanner may assume that it is well-formed TOML 1.0 and only keeps count.
 *
 *   [[lisp.map_server]]          "lisp.map_server[0]"          line 1
 *   address = "192.0.2.1"        "lisp.map_server[0].address"  line 2
 */
export function keyLines(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const arrays = new Map<string, number>();
  let at = 0;
  let line = 1;
  let table = '';

  const note = (path: string): void => {
    if (!lines.has(path)) lines.set(path, line);
  };
  const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);
  const step = (): void => {
    if (text[at] === '\n') line++;
    at++;
  };
  const skipSpace = (newlines: boolean): void => {
    while (at < text.length) {
      const c = text[at]!;
      if (c === '#') while (at < text.length && text[at] !== '\n') at++;
      else if (c === ' ' || c === '\t' || c === '\r' || (newlines && c === '\n')) step();
      else return;
    }
  };
  /** Steps over a string of any of the four kinds and returns its raw content (escapes are not resolved). */
  const string = (): string => {
    const quote = text[at]!;
    const fence = text.startsWith(quote.repeat(3), at) ? quote.repeat(3) : quote;
    for (let i = 0; i < fence.length; i++) step();
    const from = at;
    while (at < text.length && !text.startsWith(fence, at)) {
      if (text[at] === '\\' && quote === '"') step();
      step();
    }
    // A long string may end in up to two quotes of its own.
    while (fence.length === 3 && text[at + 3] === quote) step();
    const content = text.slice(from, at);
    for (let i = 0; i < fence.length; i++) step();
    return content;
  };
  const key = (): string[] => {
    const parts: string[] = [];
    while (at < text.length) {
      skipSpace(false);
      if (text[at] === '"' || text[at] === "'") parts.push(string());
      else {
        const from = at;
        while (at < text.length && /[A-Za-z0-9_-]/.test(text[at]!)) at++;
        parts.push(text.slice(from, at));
      }
      skipSpace(false);
      if (text[at] !== '.') break;
      at++;
    }
    return parts;
  };
  /** The path a dotted key names below `base`, going into the newest element of each array of tables on the way. */
  const resolve = (base: string, parts: string[]): string => {
    let path = base;
    for (const part of parts) {
      path = join(path, part);
      const count = arrays.get(path);
      if (count !== undefined) path = `${path}[${count - 1}]`;
    }
    return path;
  };
  const value = (path: string): void => {
    skipSpace(true);
    const c = text[at];
    if (c === '"' || c === "'") string();
    else if (c === '[') {
      step();
      for (let index = 0; at < text.length; index++) {
        skipSpace(true);
        if (text[at] === ']') break;
        note(`${path}[${index}]`);
        value(`${path}[${index}]`);
        skipSpace(true);
        if (text[at] === ',') step();
      }
      step();
    } else if (c === '{') {
      step();
      while (at < text.length) {
        skipSpace(true);
        if (text[at] === '}') break;
        pair(path);
        skipSpace(true);
        if (text[at] === ',') step();
      }
      step();
    } else while (at < text.length && !/[,\]}\n#]/.test(text[at]!)) at++;
  };
  const pair = (base: string): void => {
    const from = line;
    const parts = key();
    let path = base;
    for (const part of parts) {
      path = join(path, part);
      if (!lines.has(path)) lines.set(path, from);
    }
    skipSpace(false);
    if (text[at] !== '=') {
      step();
      return;
    }
    step();
    value(path);
  };

  while (at < text.length) {
    skipSpace(true);
    if (at >= text.length) break;
    if (text[at] === '[') {
      const isArray = text[at + 1] === '[';
      at += isArray ? 2 : 1;
      const parts = key();
      if (isArray) {
        const path = join(resolve('', parts.slice(0, -1)), parts[parts.length - 1]!);
        const count = (arrays.get(path) ?? 0) + 1;
        arrays.set(path, count);
        note(path);
        table = `${path}[${count - 1}]`;
      } else table = resolve('', parts);
      note(table);
      while (at < text.length && text[at] !== '\n') at++;
    } else pair(table);
  }
  return lines;
}
