// SPDX-License-Identifier: BSD-2-Clause
import { printable } from './output.js';

export interface Column<Row> {
  header: string;
  value(row: Row): string | number | undefined;
  /** Numbers and quantities read better aligned right. */
  align?: 'left' | 'right';
}

const cell = (value: string | number | undefined): string =>
  value === undefined || value === '' ? '-' : printable(String(value));

/** Columns two spaces apart, as wide as their widest cell; no trailing blanks. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const lines = [
    columns.map((column) => column.header),
    ...rows.map((row) => columns.map((column) => cell(column.value(row)))),
  ];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => [...(line[index] ?? '')].length)));
  return lines
    .map((line) =>
      line
        .map((text, index) => {
          const blanks = ' '.repeat((widths[index] ?? 0) - [...text].length);
          return columns[index]?.align === 'right' ? blanks + text : text + blanks;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** 'name  value' lines; entries without a value are left out. */
export function properties(
  entries: readonly (readonly [name: string, value: string | number | false | undefined])[],
): string {
  const shown = entries.filter(([, value]) => value !== undefined && value !== '' && value !== false);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}`).join('\n');
}
