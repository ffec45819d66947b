// SPDX-License-Identifier: BSD-2-Clause
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

// Who may import whom (the architecture in one place). Each entry: files, and what they must not import.
const rooms = [
  { files: ['src/lisp/**', 'src/mptcp/**'], forbid: ['**/native/**', '**/platform/**', '**/daemon/**', '**/gateway/**', '**/cli/**', '**/lab/**', 'node:net', 'node:dgram'] },
  { files: ['src/gateway/**'], forbid: ['**/native/**', '**/platform/linux/**', '**/platform/freebsd/**', '**/platform/memory/**', '**/daemon/**', '**/cli/**', '**/lab/**'] },
  { files: ['src/platform/**'], forbid: ['**/daemon/**', '**/gateway/**', '**/cli/**', '**/lab/**'] },
  { files: ['src/daemon/**', 'src/guard/**', 'src/cli/**', 'src/lab/**'], forbid: ['**/native/**'] },
];

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'src/native/build/'] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-extraneous-class': 'off',
      'no-constant-condition': ['error', { checkLoops: false }],
    },
  },
  { files: ['**/*.mjs', '**/*.js'], languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly', setTimeout: 'readonly' } } },
  ...rooms.map(({ files, forbid }) => ({
    files,
    rules: { 'no-restricted-imports': ['error', { patterns: forbid.map((group) => ({ group: [group], message: 'see "who may import whom" in README' })) }] },
  })),
);
