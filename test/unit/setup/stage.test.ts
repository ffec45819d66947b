// SPDX-License-Identifier: BSD-2-Clause
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const project = resolve(fileURLToPath(new URL('../../../../', import.meta.url)));
const read = (...names: string[]): string => readFileSync(join(project, ...names), 'utf8');

/** A prefix of its own, so that what is staged can be run where it is. */
const stage = mkdtempSync(join(tmpdir(), 'amptcp-stage-'));
const prefix = '/usr/local';
const at = (...names: string[]): string => join(stage, prefix, ...names);

before(() => {
  execFileSync(process.execPath, [join(project, 'src/setup/stage.mjs'), '--destdir', stage], {
    stdio: 'pipe',
  });
});
after(() => rmSync(stage, { recursive: true, force: true }));

const filesOf = (directory: string, below = ''): string[] =>
  readdirSync(join(directory, below), { withFileTypes: true }).flatMap((entry) => {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    return entry.isDirectory() ? filesOf(directory, path) : [path];
  });

test('pkg-plist is what is staged: manual pages are compressed by the ports, the program itself is listed by the port', () => {
  const listed = read('port/net/amptcp/pkg-plist')
    .trim()
    .split('\n')
    .filter((line) => !line.startsWith('@dir'))
    .map((line) => line.replace(/^@sample(\([^)]*\))? /, '').replace(/\.gz$/, ''));
  const staged = filesOf(at()).filter((path) => !path.startsWith('lib/amptcp/'));
  assert.deepEqual(staged.sort(), listed.sort());
  assert.deepEqual([...new Set(listed)], listed);
});

test('what is staged runs with the production dependencies alone', () => {
  const run = (main: string, ...args: string[]): string =>
    execFileSync(process.execPath, [at('lib/amptcp/dist/src', main), ...args], { encoding: 'utf8', env: {} });
  assert.match(run('daemon/main.js', '--version'), /^amptcpd \d/);
  const sample = at('etc/amptcpd.toml.sample');
  assert.match(run('daemon/main.js', '-n', '--config', sample), /no errors/);
  assert.match(run('cli/main.js', 'config', 'check', sample), /no errors|ok/i);
  assert.match(run('cli/main.js', 'connection', 'list', '--help'), /USAGE/);
  // Everything the daemon loads once it runs, the platform of FreeBSD included.
  execFileSync(process.execPath, [
    '--input-type=module',
    '-e',
    ['daemon/daemon.js', 'daemon/api/server.js', 'platform/freebsd/index.js', 'platform/freebsd/doctor.js']
      .map((name) => `await import(${JSON.stringify(at('lib/amptcp/dist/src', name))});`)
      .join('\n'),
  ]);
});

test('programs start with the node they are told, scripts are executable and whole', () => {
  for (const name of ['bin/amptcp', 'sbin/amptcpd']) {
    assert.ok(statSync(at(name)).mode & 0o111);
    assert.match(
      readFileSync(at(name), 'utf8'),
      /^#!\/bin\/sh\nexec \/usr\/local\/bin\/node \/usr\/local\/lib\/amptcp\//,
    );
  }
  const script = readFileSync(at('etc/rc.d/amptcpd'), 'utf8');
  assert.doesNotMatch(script, /%%/);
  assert.equal(spawnSync('sh', ['-n', at('etc/rc.d/amptcpd')]).status, 0);
  assert.equal(statSync(at('etc/amptcpd.toml.sample')).mode & 0o777, 0o640);
});

test('rc.d/amptcpd documents each of its variables', () => {
  const script = read('rc.d/amptcpd');
  const [head = '', body = ''] = script.split('. /etc/rc.subr');
  const used = new Set([...body.matchAll(/\$\{(amptcpd_\w+):=/g)].map(([, name]) => name!));
  assert.ok(used.size >= 4);
  for (const name of used) assert.match(head, new RegExp(`^# ${name}\\t`, 'm'), name);
});

test("amptcp-kmod's list is the modules that are built", () => {
  const modules = /^SUBDIR=\t(.*)$/m.exec(read('kmod/Makefile'))![1]!.split(' ');
  const listed = [
    ...read('port/net/amptcp-kmod/Makefile').matchAll(/^(?:PLIST_FILES=)?\t+(\S+\.(?:ko|4\.gz))/gm),
  ].map(([, file]) => file!);
  const built = modules.flatMap((name) => [`\${KMODDIR}/${name}.ko`, `share/man/man4/${name}.4.gz`]);
  assert.deepEqual(listed.sort(), built.sort());
});

const hasMandoc = spawnSync('mandoc', ['-T', 'lint'], { input: '' }).error === undefined;
test(
  'the manual pages have nothing mandoc complains of',
  { skip: !hasMandoc && 'mandoc is not installed' },
  () => {
    for (const page of ['man8/amptcpd.8', 'man5/amptcpd.conf.5', 'man8/amptcp.8']) {
      const { stdout } = spawnSync('mandoc', ['-T', 'lint', at('share/man', page)], { encoding: 'utf8' });
      const complaints = stdout
        .split('\n')
        .filter((line) => line !== '' && !line.includes('referenced manual not found'));
      assert.deepEqual(complaints, [], page);
    }
  },
);

test('amptcpd.conf(5) has every key that is read', () => {
  const page = read('src/daemon/amptcpd.conf.5');
  const source = read('src/daemon/config.ts');
  const keys = new Set(
    [
      ...source.matchAll(
        /\.(?:string|optionalString|integer|optionalInteger|boolean|choice|address|optionalAddress|addresses|prefix|prefixes|strings|list|has)\(\s*'(\w+)'/g,
      ),
    ].map(([, key]) => key!),
  );
  assert.ok(keys.size > 40);
  const words = new Set(page.split(/[^\w]+/));
  assert.deepEqual(
    [...keys].filter((key) => !words.has(key)),
    [],
  );
});
