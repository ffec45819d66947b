// SPDX-License-Identifier: BSD-2-Clause

/** The configuration in effect as a file that says the same: what `config show` prints can be fed to amptcpd again. */

type Value = unknown;
type Fields = Record<string, Value>;

/** Where the file's word is not just the snake_case of the program's. */
const NAMES: Record<string, string> = {
  rlocs: 'rloc',
  'lisp.iid': 'instance_id',
  'lisp.mapServers': 'map_server',
  'lisp.mappings': 'mapping',
  'lisp.database.iid': 'instance_id',
  'lisp.mappings.iid': 'instance_id',
  'mptcp.notSentLowat': 'notsent_lowat',
  'mapServer.sites': 'site',
};

/** Written within the line of the entry that they belong to, with these fields. */
const INLINE: Record<string, readonly string[]> = {
  'lisp.database.rlocs': ['address', 'priority', 'weight'],
  'lisp.mappings.rlocs': ['address', 'priority', 'weight'],
  'mapServer.sites.eids': ['prefix', 'iid', 'acceptMoreSpecifics'],
};

const isFields = (value: Value): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function literal(value: Value, path: string): string {
  if (path === 'api.mode') return `0o${Number(value).toString(8)}`;
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, path)).join(', ')}]`;
  if (path === 'intercept.ports' && isFields(value)) {
    return JSON.stringify(
      value['from'] === value['to'] ? `${value['from']}` : `${value['from']}-${value['to']}`,
    );
  }
  if (isFields(value)) {
    const fields = (INLINE[path] ?? Object.keys(value)).filter((name) => value[name] !== undefined);
    return `{ ${fields.map((name) => `${snake(name)} = ${literal(value[name], `${path}.${name}`)}`).join(', ')} }`;
  }
  return JSON.stringify(value);
}

/** `path` in the program's words, `header` in the file's. */
function section(fields: Fields, path: string, header: string, array: boolean): string[] {
  const lines: string[] = [];
  const below: string[][] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    const here = path === '' ? name : `${path}.${name}`;
    const word = NAMES[here] ?? snake(name);
    const inner = header === '' ? word : `${header}.${word}`;
    if (isFields(value)) below.push(section(value, here, inner, false));
    else if (
      Array.isArray(value) &&
      value.some(isFields) &&
      INLINE[here] === undefined &&
      here !== 'intercept.ports'
    ) {
      for (const item of value) below.push(section(item as Fields, here, inner, true));
    } else if (!(Array.isArray(value) && value.length === 0 && TABLES.has(here))) {
      lines.push(`${word} = ${literal(value, here)}`);
    }
  }
  const title = header === '' ? [] : ['', array ? `[[${header}]]` : `[${header}]`];
  return [...(lines.length > 0 || array ? [...title, ...lines] : []), ...below.flat()];
}

/** An empty one of these is an absent one. */
const TABLES = new Set(['rlocs', 'lisp.mapServers', 'lisp.database', 'lisp.mappings', 'mapServer.sites']);

export const configText = (config: Fields): string => section(config, '', '', false).join('\n');
