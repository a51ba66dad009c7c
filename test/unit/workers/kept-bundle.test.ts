/** The bundle of the workflows that is kept between starts: never that of other sources, and whole or not at all. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { keptBundle } from '../../../workers/kept-bundle';

describe('a kept bundle', () => {
  let root: string;
  let made: number;
  const write = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  };
  const cache = () => path.join(root, 'node_modules', '.cache', 'spendlock');
  /** What a start takes; it says which of the bundles that were made it is. */
  const take = (options = ''): Promise<string> =>
    keptBundle({ root, folders: ['workflows', 'core'], options }, () =>
      Promise.resolve(`let bundle = ${(made += 1)};`),
    );

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'spendlock-kept-'));
    made = 0;
    write('workflows/index.ts', 'export {};');
    write('core/budget/decision.ts', 'export const one = 1;');
    write('package.json', '{}');
    write('node_modules/.package-lock.json', '{}');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('is made once for the same sources', async () => {
    expect([await take(), await take(), await take()]).toEqual(Array(3).fill('let bundle = 1;'));
  });

  test.each([
    ['a source changes', () => write('core/budget/decision.ts', 'export const one = 2;')],
    ['a source gets another name', () => write('core/budget/decisions.ts', 'export const one = 1;')],
    ['a source goes', () => rmSync(path.join(root, 'core/budget/decision.ts'))],
    ['a package changes', () => write('node_modules/.package-lock.json', '{"lockfileVersion":3}')],
    ['what names the packages changes', () => write('package.json', '{"type":"commonjs"}')],
  ])('is made anew when %s', async (_what, change) => {
    await take();
    change();
    expect([await take(), await take()]).toEqual(Array(2).fill('let bundle = 2;'));
  });

  test('is another with other options, and both are kept', async () => {
    expect([await take('a'), await take('b'), await take('a'), await take('b')]).toEqual(
      [1, 2, 1, 2].map((which) => `let bundle = ${which};`),
    );
  });

  test('is made anew when a part of it is lost or changed', async () => {
    await take();
    const file = path.join(cache(), readdirSync(cache())[0] ?? '');
    const text = readFileSync(file, 'utf8');
    for (const damaged of ['', text.slice(0, -5), text.slice(0, 10), text.replace('= 1', '= 7')]) {
      writeFileSync(file, damaged);
      expect(await take()).toBe(`let bundle = ${made};`);
    }
    expect(made).toBe(5);
  });

  test('is not kept when a source changed while it was made', async () => {
    const origin = { root, folders: ['workflows', 'core'], options: '' };
    await keptBundle(origin, () => {
      write('workflows/index.ts', 'export const other = 1;');
      return Promise.resolve('of which?');
    });
    expect(await take()).toBe('let bundle = 1;');
  });

  test('is made at each start where nothing can be kept or nobody says which packages are there', async () => {
    write('node_modules/.cache', 'a file where the folder would be');
    expect([await take(), await take()]).toEqual(['let bundle = 1;', 'let bundle = 2;']);
    rmSync(path.join(root, 'node_modules'), { recursive: true });
    expect([await take(), await take()]).toEqual(['let bundle = 3;', 'let bundle = 4;']);
  });

  test('of the newest four is kept', async () => {
    for (const options of ['a', 'b', 'c', 'd', 'e', 'f']) await take(options);
    expect(readdirSync(cache())).toHaveLength(4);
  });
});
