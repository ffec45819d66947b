// SPDX-License-Identifier: BSD-2-Clause

/**
 * What the two ports do, from their distfile and nothing else:
 *
 *   distfile -> extract -> net/amptcp:      the addon, by src/native/freebsd/build.sh; stage, by src/setup/stage.mjs
 *                       \> net/amptcp-kmod: the modules, by kmod/Makefile against SYSDIR; the preload library
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Tools, VmEnvironment } from './environment.js';
import { buildPortAddon, run, StepError } from './image.js';

const suffixOf = (tool: string): string => /(-\d+)$/.exec(tool)?.[1] ?? '';

/** Returns what was built. */
export async function buildPorts(
  project: string,
  temporary: string,
  environment: VmEnvironment,
  tools: Tools,
): Promise<string> {
  const work = join(temporary, 'ports');
  mkdirSync(work);
  const distfile = join(work, 'amptcp.tar.gz');
  const script = join('src', 'setup', 'stage.mjs');
  await run('making the distfile', process.execPath, [join(project, script), '--distfile', distfile]);
  await run('extracting the distfile', 'tar', ['-xzf', distfile, '-C', work, '--strip-components=1']);

  await run('building the modules from the distfile', tools.bmake, [
    ...['-m', join(dirname(environment.sysdir), 'share', 'mk'), '-C', join(work, 'kmod')],
    `SYSDIR=${environment.sysdir}`,
    `CLANG=${tools.clang}`,
    `LLD=${tools.lld}`,
    `LLVM_SUFFIX=${suffixOf(tools.llvm)}`,
  ]);
  const modules = ['lisp', 'mptcp', 'tproxy'].map((name) => join(work, 'kmod', name, `${name}.ko`));
  const preload = join(work, 'libmptcp_preload.so');
  const target = `--target=x86_64-unknown-freebsd14.0 --sysroot=${environment.sysroot}`;
  await run(
    'building the preload library from the distfile',
    'sh',
    [join(work, 'src', 'preload', 'build.sh'), preload],
    { CC: `${tools.clang} ${target}`, LDFLAGS: `--ld-path=${tools.lld}` },
  );
  const addon = join(work, 'amptcp.node');
  await buildPortAddon(work, addon, environment, tools);
  const staged = join(work, 'stage');
  await run('staging from the distfile', process.execPath, [
    ...[join(work, script), '--destdir', staged, '--addon', addon],
  ]);
  const expected = [
    ...modules,
    preload,
    join(staged, 'usr/local/lib/amptcp/dist/src/native/build/Release/amptcp.node'),
    join(staged, 'usr/local/etc/rc.d/amptcpd'),
  ];
  for (const file of expected) if (!existsSync(file)) throw new StepError('building the ports', `no ${file}`);
  return `distfile of ${Math.round(statSync(distfile).size / 1000)} kB: ${modules.length} modules, preload library, addon, staged package`;
}
