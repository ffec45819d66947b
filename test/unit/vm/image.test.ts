// SPDX-License-Identifier: BSD-2-Clause

/** test:vm with an image: what is typed at which prompt, and which formats are told apart. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageFormat, readEnvironment } from '../../vm/environment.js';
import { imageConsole } from '../../vm/qemu.js';

const start = /^mount -uw \/;.* kenv amptcp\.scenario=mtu; exec sh \/amptcp\/rc\r$/;

void test('the loader is stopped, told, and the shell of single user starts the scenario', () => {
  const said: string[] = [];
  const answer = imageConsole('mtu', { 'kern.hz': '100' }, (text) => said.push(text));
  assert.equal(answer('Loading /boot/defaults/loader.conf'), undefined);
  assert.equal(answer('Autoboot in 9 seconds, hit [Enter] to boot or any other key to stop'), '3');
  assert.equal(answer('Autoboot in 8 seconds, hit [Enter] to boot or any other key to stop'), undefined);
  assert.equal(answer('OK '), 'set boot_serial=YES\r');
  assert.equal(answer('OK '), 'set kern.hz=100\r');
  assert.equal(answer('OK '), 'boot -s\r');
  assert.equal(answer('OK '), undefined);
  assert.equal(answer('Enter full pathname of shell or RETURN for /bin/sh: '), '\r');
  assert.match(answer('root@:/ # ') ?? '', start);
  assert.equal(answer('# '), undefined, 'the scenario types for itself');
  assert.equal(said.length, 1);
});

void test('where the loader does not listen, root logs in', () => {
  const answer = imageConsole('mtu', {}, () => undefined);
  assert.equal(answer('FreeBSD/amd64 (freebsd) (ttyu0)'), undefined);
  assert.equal(answer('login: '), 'root\r');
  assert.equal(answer('login: root'), undefined);
  assert.match(answer('root@freebsd:~ # ') ?? '', start);
});

void test('an image whose root has a password is said to be, and that is the end', () => {
  const said: string[] = [];
  const answer = imageConsole('mtu', {}, (text) => said.push(text));
  assert.equal(answer('login: '), 'root\r');
  assert.equal(answer('Password:'), null);
  assert.match(said.at(-1) ?? '', /password/);
});

void test('formats by what a file begins with', () => {
  assert.equal(imageFormat(Buffer.from('QFI\xfb\0\0\0\x03', 'latin1')), 'qcow2');
  assert.equal(imageFormat(Buffer.from('KDMV', 'latin1')), 'vmdk');
  assert.equal(imageFormat(Buffer.from('conectix', 'latin1')), 'vpc');
  assert.equal(imageFormat(Buffer.from([0xfc, 0x31, 0xc0])), 'raw');
  assert.equal(imageFormat(Buffer.alloc(0)), 'raw');
});

void test('nothing set is a skip; what is not there, or does not go together, is an error', () => {
  const fail = (env: NodeJS.ProcessEnv): string => {
    const wanted = readEnvironment(env);
    return 'fail' in wanted ? wanted.fail : '';
  };
  assert.ok('skip' in readEnvironment({}));
  assert.match(fail({ FREEBSD_IMAGE: '/nowhere' }), /FREEBSD_IMAGE=\/nowhere: no such file/);
  assert.match(fail({ FREEBSD_IMAGE: '/nowhere', FREEBSD_ROOT: '/' }), /one or the other/);
  assert.match(fail({ FREEBSD_ROOT: '/' }), /set both/);
});
