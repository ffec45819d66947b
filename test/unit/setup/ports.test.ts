// SPDX-License-Identifier: BSD-2-Clause

/**
 * The ports by the rules that the porter's handbook states and portlint looks for, as far as they concern what these ports are
 * made of; and their distfile, which must be enough to stage from.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const project = resolve(fileURLToPath(new URL('../../../../', import.meta.url)));
const read = (...names: string[]): string => readFileSync(join(project, ...names), 'utf8');
const PORTS = ['amptcp', 'amptcp-kmod'];
const makefileOf = (port: string): string => read('port/net', port, 'Makefile');

/** Sections of a Makefile in their order; within one, variables in theirs. */
const SECTIONS = [
  ['PORTNAME', 'DISTVERSION', 'PORTREVISION', 'CATEGORIES', 'MASTER_SITES', 'PKGNAMEPREFIX', 'PKGNAMESUFFIX'],
  ['MAINTAINER', 'COMMENT', 'WWW'],
  ['LICENSE', 'LICENSE_FILE'],
  ['BUILD_DEPENDS', 'LIB_DEPENDS', 'RUN_DEPENDS'],
  ['USES', 'USE_LDCONFIG'],
];
/** Programs that have a variable: it is to be used. */
const COMMANDS =
  'awk|basename|cat|chmod|chown|cp|cut|date|dirname|echo|egrep|expr|false|file|find|gmake|grep|gzip|head|install|ln|make|mkdir|mv|paste|patch|perl|printf|rm|rmdir|sed|sh|sort|strip|sysctl|tail|tar|touch|tr|true|uname|wc|which|xargs';
/** Words of a plist these ports may use. */
const KEYWORDS = /^@(sample(\([^)]*\))?|dir(\([^)]*\))?) /;

/** As make sees them: continued lines are one. */
const assignments = (makefile: string): [string, string][] =>
  [...makefile.replace(/\\\n/g, ' ').matchAll(/^([A-Z_]+)[?+:]?=([^\n]*)$/gm)].map(([, name, value]) => [
    name!,
    value!.trim(),
  ]);

for (const port of PORTS) {
  describe(`net/${port}`, () => {
    const makefile = makefileOf(port);
    const variables = new Map(assignments(makefile));

    test('layout: tabs, no blanks at ends of lines, one empty line between sections, one end', () => {
      assert.ok(makefile.startsWith('PORTNAME='));
      assert.doesNotMatch(makefile, /[ \t]\n/);
      assert.doesNotMatch(makefile, /\n\n\n/);
      assert.doesNotMatch(makefile, /^[A-Z_]+[?+:]?= /m, 'a tab follows the assignment');
      assert.doesNotMatch(makefile, /^ +\S/m, 'a tab begins a command');
      assert.match(makefile, /\n\.include <bsd\.port\.mk>\n$/);
      assert.equal(makefile.split('\n').filter((line) => line.includes('\r')).length, 0);
    });

    test('sections and variables are in their order, each of them once', () => {
      const names = assignments(makefile).map(([name]) => name);
      assert.deepEqual([...new Set(names)], names);
      const known = SECTIONS.flat();
      const found = names.filter((name) => known.includes(name));
      assert.deepEqual(
        found,
        known.filter((name) => found.includes(name)),
      );
      for (const section of SECTIONS) {
        const places = section
          .map((name) => makefile.search(new RegExp(`^${name}=`, 'm')))
          .filter((at) => at >= 0);
        if (places.length < 2) continue;
        assert.doesNotMatch(makefile.slice(places[0], places.at(-1)), /\n\n/, `${section[0]}: one section`);
      }
    });

    test('what every port says of itself', () => {
      const { version } = JSON.parse(read('package.json')) as { version: string };
      assert.equal(variables.get('PORTNAME'), 'amptcp');
      assert.equal(variables.get('DISTVERSION'), version);
      assert.equal(variables.get('CATEGORIES'), 'net');
      assert.match(variables.get('MAINTAINER')!, /^[\w.+-]+@[\w-]+(\.[\w-]+)+$/);
      const comment = variables.get('COMMENT')!;
      assert.match(comment, /^[A-Z].{1,68}[^.]$/);
      assert.doesNotMatch(comment, /^(A|An|The) /);
      assert.doesNotMatch(comment, /amptcp.*amptcp/i);
      assert.equal(variables.get('LICENSE'), 'BSD2CLAUSE');
      assert.equal(variables.get('LICENSE_FILE'), '${WRKSRC}/LICENSE');
    });

    test('commands by their variables, places by theirs', () => {
      const commands = makefile
        .split('\n')
        .filter((line) => line.startsWith('\t') && !line.startsWith('\t\t'));
      for (const line of commands)
        assert.doesNotMatch(line, new RegExp(`(^\\t@?|[;|&(]\\s*)(${COMMANDS})\\s`), line);
      assert.doesNotMatch(makefile, /\/usr\/(local|ports|src)/);
      assert.doesNotMatch(makefile, /\$\([A-Z]/, 'braces, not parentheses');
      assert.doesNotMatch(makefile, /\$\{PREFIX\}\/(bin|include)\/node|\$\{PREFIX\}\/bin\/sh/);
      for (const [, place] of makefile.matchAll(/\$\{(INSTALL_\w+|MKDIR)\}[^\n]*\s(\S+)$/gm))
        assert.ok(['INSTALL_MAN', 'INSTALL_DATA', 'INSTALL_LIB', 'MKDIR'].includes(place!));
      for (const line of commands.filter((each) => /\$\{(INSTALL_\w+|MKDIR)\}/.test(each)))
        assert.match(line, /\$\{STAGEDIR\}\S*$/, `installs into the stage: ${line}`);
    });

    test('where it comes from is said in one place', () => {
      assert.equal(variables.get('WWW'), '${AMPTCP_PAGE}');
      assert.equal(variables.get('MASTER_SITES'), '${AMPTCP_PAGE:=/releases/download/v${DISTVERSION}/}');
      assert.match(makefile, /^\.include "\$\{\.CURDIR\}\/(\.\.\/amptcp\/)?Makefile\.project"$/m);
      assert.doesNotMatch(makefile, /https?:|example|LOCAL\//);
    });

    test('pkg-descr', () => {
      const description = read('port/net', port, 'pkg-descr');
      const lines = description.split('\n');
      assert.ok(lines.every((line) => line.length <= 80));
      assert.ok(lines.length <= 25 && lines.length > 3);
      assert.match(description, /\S\n$/);
      assert.doesNotMatch(description, /^\s|[ \t]\n|WWW:|https?:|[^\n\t\x20-\x7e]/);
      assert.notEqual(description.trim(), variables.get('COMMENT'));
    });
  });
}

test('the page of the project is an address of the web, with no slash at its end, or none', () => {
  const pages = assignments(read('port/net/amptcp/Makefile.project'));
  assert.deepEqual(
    pages.map(([name]) => name),
    ['AMPTCP_PAGE'],
  );
  assert.match(pages[0]![1], /^(https:\/\/[\w.-]+(\/[\w.-]+)*)?$/);
});

test('net/amptcp: USES has arguments that exist, the account is one a tree takes', () => {
  const variables = new Map(assignments(makefileOf('amptcp')));
  // Uses/nodejs.mk: build, run, env, and a version by its number alone.
  const [, words = ''] = /^nodejs:(.*)$/.exec(variables.get('USES')!)!;
  for (const word of words.split(',')) assert.match(word, /^(build|run|env|lts|current|\d\d)$/);
  assert.equal(variables.get('USERS'), 'amptcp');
  assert.equal(variables.get('GROUPS'), 'amptcp');
  const [user = '', ...users] = read('port/net/amptcp/files/UIDs').trim().split('\n');
  const [group = '', ...groups] = read('port/net/amptcp/files/GIDs').trim().split('\n');
  assert.deepEqual([...users, ...groups], []);
  const [, uid, gid] = /^amptcp:\*:(\d+):(\d+):[^:]*:0:0:[^:]+:\/[^:]+:\/usr\/sbin\/nologin$/.exec(user)!;
  assert.equal(/^amptcp:\*:(\d+):$/.exec(group)?.[1], gid);
  // Not of the base system's, and not of people's.
  assert.ok(Number(uid) > 100 && Number(uid) < 1000 && uid === gid);
});

test('net/amptcp-kmod: kernel modules, and nothing that a kernel module port has not', () => {
  const variables = new Map(assignments(makefileOf('amptcp-kmod')));
  assert.match(variables.get('USES')!, /\bkmod\b/);
  assert.equal(variables.get('PKGNAMESUFFIX'), '-kmod');
  assert.equal(variables.get('DISTINFO_FILE'), '${.CURDIR}/../amptcp/distinfo');
  assert.match(makefileOf('amptcp'), /^RUN_DEPENDS=\tamptcp-kmod>0:net\/amptcp-kmod$/m);
  const listed = variables.get('PLIST_FILES')!.split(/\s+/);
  assert.deepEqual([...new Set(listed)], listed);
  for (const entry of listed) assert.match(entry, /^(\$\{KMODDIR\}|share|include|lib)\//);
});

test('pkg-plist: relative, compressed manual pages, known words, nothing twice', () => {
  const lines = read('port/net/amptcp/pkg-plist').split('\n');
  assert.equal(lines.pop(), '');
  assert.deepEqual([...new Set(lines)], lines);
  for (const line of lines) {
    assert.doesNotMatch(line, /\s$/);
    if (line.startsWith('@')) assert.match(line, KEYWORDS, line);
    else assert.doesNotMatch(line, /^\//, line);
    if (line.includes('/man/man')) assert.match(line, /\.\d\.gz$/);
    assert.doesNotMatch(line, /\/usr\/local/);
  }
});

test('pkg-message is UCL: a list of one object, told at install, with the prefix left to the port', () => {
  const message = read('port/net/amptcp/files/pkg-message.in');
  assert.match(message, /^\[\n\{ type: install\n {2}message: <<EOM\n[^]*\nEOM\n\}\n\]\n$/);
  assert.doesNotMatch(message, /\/usr\/local/);
  for (const step of ['1.', '2.', '3.']) assert.ok(message.includes(`\n${step} `), step);
  assert.match(makefileOf('amptcp'), /^SUB_FILES=\tpkg-message$/m);
});

// ---------------------------------------------------------------- the distfile

const work = mkdtempSync(join(tmpdir(), 'amptcp-ports-'));
after(() => rmSync(work, { recursive: true, force: true }));
const distfile = join(work, 'amptcp-0.tar.gz');
const tree = join(work, 'tree');

describe('the distfile', () => {
  before(() => {
    execFileSync(process.execPath, [
      ...[join(project, 'src/setup/stage.mjs'), '--distfile', distfile],
      ...['--ports', join(work, 'portstree')],
    ]);
    execFileSync('mkdir', [tree]);
    execFileSync('tar', ['-xzf', distfile, '-C', tree]);
  });
  const extracted = (): string => join(tree, readdirSync(tree)[0]!);

  test('unpacks into one folder, named as the ports expect', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    assert.deepEqual(readdirSync(tree), [`amptcp-${version}`]);
    for (const part of [
      'LICENSE',
      'kmod/Makefile',
      'src/native/freebsd/build.sh',
      'src/setup/stage.mjs',
      'rc.d/amptcpd',
    ])
      assert.ok(existsSync(join(extracted(), part)), part);
  });

  test('has the production dependencies, and none of the development ones', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const has = (name: string): boolean =>
      existsSync(join(extracted(), 'node_modules', name, 'package.json'));
    assert.deepEqual(
      Object.keys(dependencies).filter((name) => !has(name)),
      [],
    );
    assert.deepEqual(Object.keys(devDependencies).filter(has), []);
  });

  test('both ports are in the tree that is named, with its checksum', () => {
    const distinfo = readFileSync(join(work, 'portstree/net/amptcp/distinfo'), 'utf8');
    const sum = execFileSync('sha256sum', [distfile], { encoding: 'utf8' }).split(' ')[0]!;
    assert.match(
      distinfo,
      /^TIMESTAMP = \d+\nSHA256 \(amptcp-0\.tar\.gz\) = [0-9a-f]{64}\nSIZE \(amptcp-0\.tar\.gz\) = \d+\n$/,
    );
    assert.ok(distinfo.includes(sum));
    assert.ok(distinfo.includes(`= ${statSync(distfile).size}\n`));
    for (const port of PORTS) assert.ok(existsSync(join(work, 'portstree/net', port, 'Makefile')));
  });

  test('the package is staged from it alone: no network, and what it needs comes from nowhere else', () => {
    const stage = (from: string, to: string, prefix: string[] = []): void => {
      const [program = '', ...args] = [...prefix, process.execPath, join(from, 'src/setup/stage.mjs')];
      execFileSync(program, [...args, '--destdir', to], { cwd: work, stdio: 'pipe' });
    };
    // Where a user may have a network namespace of his own, there is not even a loopback interface.
    const isolated = spawnSync('unshare', ['-rn', 'true']).status === 0 ? ['unshare', '-rn'] : [];
    stage(extracted(), join(work, 'from-distfile'), isolated);
    stage(project, join(work, 'from-project'));
    const { status, stdout } = spawnSync(
      'diff',
      ['-r', join(work, 'from-distfile'), join(work, 'from-project')],
      {
        encoding: 'utf8',
      },
    );
    assert.equal(status, 0, stdout.slice(0, 2000));
  });

  test('what is staged has no folder without files, and no script that asks for a shell of elsewhere', () => {
    const root = join(work, 'from-project', 'usr/local');
    const walk = (directory: string): void => {
      const entries = readdirSync(directory, { withFileTypes: true });
      assert.notEqual(entries.length, 0, directory);
      for (const entry of entries) {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) walk(path);
        else
          assert.doesNotMatch(
            readFileSync(path, 'latin1').slice(0, 64),
            /^#! *\S*(bash|\/usr\/bin\/(perl|python))/,
            path,
          );
      }
    };
    walk(root);
    assert.ok(statSync(join(work, 'from-project/var/db/amptcp')).isDirectory());
  });
});
