/** docs/architecture.md: each function that a flow names is where it is said to be. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { textOf } from '../../support/import-graph';

const root = path.join(__dirname, '..', '..', '..');
const page = textOf('docs/architecture.md');
const hops = [...page.matchAll(/\[`(\w+)`\]\(\.\.\/([\w./-]+)\)/g)].map(([, name = '', file = '']) => ({ name, file }));

/** Whether a file has a function, a method or a class of that name. */
const defines = (text: string, name: string): boolean =>
  new RegExp(
    `^(export )?(async function|function|class|const) ${name}\\b|^ +(private )?(async )?${name}[(<](?!.*;$)`,
    'm',
  ).test(text);

describe('the flows of docs/architecture.md', () => {
  test('name many hops', () => expect(hops.length).toBeGreaterThan(30));

  test.each(hops)('have $name in $file', ({ name, file }) => {
    expect(existsSync(path.join(root, file))).toBe(true);
    expect(defines(textOf(file), name)).toBe(true);
  });

  test('would tell a function that is only called', () => {
    expect(defines('  callee(1);\n  await callee(1);', 'callee')).toBe(false);
  });

  test('and every other link go to files that are there', () => {
    const links = [...page.matchAll(/\]\((?!https?:)([\w./-]+)(#[\w-]+)?\)/g)].map(([, to = '']) =>
      path.join(root, 'docs', to),
    );
    expect(links.filter((file) => !existsSync(file))).toEqual([]);
  });
});
