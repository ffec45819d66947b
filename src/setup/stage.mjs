#!/usr/bin/env node
// SPDX-License-Identifier: BSD-2-Clause
/*
 * Puts a built tree where packages are made from: what `make install` does in other projects. The port's do-install calls it.
 *
 *   node src/setup/stage.mjs --destdir DIR [--prefix /usr/local] [--addon FILE] [--node COMMAND]
 *   node src/setup/stage.mjs --distfile FILE.tar.gz [--ports DIR]
 *       the ports' distfile: compiled, with the production dependencies; and both ports, with its checksum, in a ports tree
 *
 * Plain JavaScript on Node's own modules. The tree must have been compiled (npm run build).
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Folders of production dependencies, as the lock file has them. */
function productionPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(
      ([path, entry]) =>
        path.startsWith('node_modules/') && !entry.dev && !entry.devOptional && !entry.optional,
    )
    .map(([path]) => path);
}

/** What nobody reads at run time. */
const IDLE =
  /\.(d\.[cm]?ts|[cm]?ts|map|md|markdown|ya?ml|flow|tgz|sh)$|(^|\/)(test|tests|__tests__|docs|examples?|benchmarks?|\.github)(\/|$)/;

function copy(from, to, wanted = () => true) {
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (source) => {
      const path = relative(from, source);
      return path === '' || wanted(path);
    },
  });
}

function copyPackages(to, all) {
  for (const path of productionPackages()) {
    const from = join(root, path);
    if (!existsSync(from)) throw new Error(`${path} is missing: npm ci`);
    copy(
      from,
      join(to, path),
      (name) => !name.split('/').includes('node_modules') && (all || !IDLE.test(name)),
    );
  }
}

/** What is left of folders whose files nobody reads. */
function dropEmpty(directory) {
  const entries = readdirSync(directory, { withFileTypes: true });
  const kept = entries.filter((entry) => !entry.isDirectory() || dropEmpty(join(directory, entry.name)));
  if (kept.length === 0) rmdirSync(directory);
  return kept.length > 0;
}

function put(path, content, mode = 0o644) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
}

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

function stage(destdir, prefix, addon, node) {
  const at = (...names) => join(destdir, prefix, ...names);
  const home = `${prefix}/lib/amptcp`;
  const text = (...names) => readFileSync(join(root, ...names), 'utf8');
  const compiled = join(root, 'dist', 'src');
  if (!existsSync(join(compiled, 'daemon', 'main.js'))) throw new Error('not compiled: npm run build');

  copy(
    compiled,
    at('lib/amptcp/dist/src'),
    (name) => !IDLE.test(name) && !/^lab(\/|$)/.test(name) && !/^cli\/commands\/lab(\/|$)/.test(name),
  );
  copyPackages(at('lib/amptcp'), false);
  for (const headers of ['node-addon-api', 'node-api-headers'])
    rmSync(at('lib/amptcp/node_modules', headers), { recursive: true, force: true });
  dropEmpty(at('lib/amptcp'));
  mkdirSync(join(destdir, 'var/db/amptcp'), { recursive: true });
  put(at('lib/amptcp/package.json'), text('package.json'));
  put(at('share/licenses/amptcp/LICENSE'), text('LICENSE'));
  if (addon) {
    mkdirSync(at('lib/amptcp/dist/src/native/build/Release'), { recursive: true });
    cpSync(addon, at('lib/amptcp/dist/src/native/build/Release/amptcp.node'));
  }

  const wrapper = (main) => `#!/bin/sh\nexec ${node} ${home}/${main} "$@"\n`;
  put(at('bin/amptcp'), wrapper('dist/src/cli/main.js'), 0o755);
  put(at('sbin/amptcpd'), wrapper('dist/src/daemon/main.js'), 0o755);
  put(at('etc/rc.d/amptcpd'), text('rc.d', 'amptcpd').replaceAll('%%PREFIX%%', prefix), 0o755);
  put(at('etc/amptcpd.toml.sample'), text('src', 'setup', 'amptcpd.toml.sample'), 0o640);
  put(at('etc/newsyslog.conf.d/amptcpd.conf.sample'), text('src', 'setup', 'amptcpd.newsyslog'));

  put(at('share/man/man8/amptcpd.8'), text('src', 'daemon', 'amptcpd.8'));
  put(at('share/man/man5/amptcpd.conf.5'), text('src', 'daemon', 'amptcpd.conf.5'));
  // Of the commands as they are compiled, so they cannot go stale.
  const cli = (...args) => run(process.execPath, [join(compiled, 'cli', 'main.js'), ...args]);
  put(at('share/man/man8/amptcp.8'), cli('manual'));
  put(at('share/bash-completion/completions/amptcp'), cli('completion', 'bash'));
  put(at('share/zsh/site-functions/_amptcp'), cli('completion', 'zsh'));
  put(at('share/fish/vendor_completions.d/amptcp.fish'), cli('completion', 'fish'));
}

/** One archive with all that a build without network needs. Returns its checksum as ports want it. */
function distfile(file) {
  const name = `amptcp-${version}`;
  const temporary = mkdtempSync(join(tmpdir(), 'amptcp-dist-'));
  try {
    const to = join(temporary, name);
    mkdirSync(to);
    for (const path of ['package.json', 'package-lock.json', 'LICENSE', 'README.md'])
      cpSync(join(root, path), join(to, path));
    for (const path of ['src', 'kmod', 'rc.d'])
      copy(join(root, path), join(to, path), (entry) => !/(^|\/)build(\/|$)/.test(entry));
    copy(join(root, 'dist', 'src'), join(to, 'dist', 'src'));
    copyPackages(to, true);
    const tar = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=2026-01-01 00:00Z'];
    run('tar', [...tar, '-czf', resolve(file), '-C', temporary, name]);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  const content = readFileSync(file);
  const sum = createHash('sha256').update(content).digest('hex');
  const time = Math.floor(statSync(file).mtimeMs / 1000);
  return `TIMESTAMP = ${time}\nSHA256 (${basename(file)}) = ${sum}\nSIZE (${basename(file)}) = ${content.length}\n`;
}

/** Both ports, complete, in a ports tree. */
function ports(to, distinfo) {
  for (const port of ['amptcp', 'amptcp-kmod']) copy(join(root, 'port', 'net', port), join(to, 'net', port));
  writeFileSync(join(to, 'net', 'amptcp', 'distinfo'), distinfo);
}

const { values } = parseArgs({
  options: {
    destdir: { type: 'string' },
    prefix: { type: 'string', default: '/usr/local' },
    addon: { type: 'string' },
    node: { type: 'string' },
    distfile: { type: 'string' },
    ports: { type: 'string' },
  },
});
try {
  if (values.distfile) {
    const distinfo = distfile(values.distfile);
    if (values.ports) ports(resolve(values.ports), distinfo);
  } else if (values.destdir)
    stage(resolve(values.destdir), values.prefix, values.addon, values.node ?? `${values.prefix}/bin/node`);
  else
    throw new Error(
      'usage: stage.mjs --destdir DIR [--prefix DIR] [--addon FILE] [--node COMMAND] | --distfile FILE [--ports DIR]',
    );
} catch (error) {
  process.stderr.write(`stage: ${error.message}\n`);
  process.exitCode = 1;
}
