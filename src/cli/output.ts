// SPDX-License-Identifier: BSD-2-Clause

/** The only place that writes, so that tests can listen in. */
export const output = {
  stdout(text: string): void {
    process.stdout.write(text);
  },
  stderr(text: string): void {
    process.stderr.write(text);
  },
};

/**
 * What came over the network must not steer a terminal: C0, DEL and C1 controls, and the characters that reorder or hide
 * text (bidirectional controls, zero width, line separators) become '?'.
 */
// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const printable = (text: string): string => text.replace(UNPRINTABLE, '?');
