/** The list of folders (scripts/folders.json) against what is there: imports, image, compiles, and the page that describes them. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import list from '../../../scripts/folders.json';
import { cyclesOf, importsOf, sourcesOf, textOf } from '../../support/import-graph';

interface Folder {
  name: string;
  what: string;
  /** Of these a folder may import everything, and of the others types. */
  imports: string[];
  typesOf?: string[];
  sandboxed?: boolean;
  inImage?: boolean;
}

const product: Folder[] = list.product;
const folders: Folder[] = [...list.product, ...list.around];
const root = path.join(__dirname, '..', '..', '..');
const roomOf = (file: string): string => file.split('/')[0] ?? '';
const imports = folders.flatMap(({ name }) => sourcesOf(name)).flatMap((file) => importsOf(file));

/** Imports that the list does not allow. */
const forbidden = (all: typeof imports): string[] =>
  all
    .filter(({ from, to, isTypeOnly }) => {
      const folder = folders.find(({ name }) => name === roomOf(from));
      const target = roomOf(to);
      if (!folder || target === folder.name) return false;
      return !folder.imports.includes(target) && !(isTypeOnly && folder.typesOf?.includes(target));
    })
    .map(({ from, to }) => `${from} imports ${to}`);

describe('the list of folders', () => {
  test('names every folder that has files of ours, and no other', () => {
    const ignored = ['node_modules', 'dist', 'coverage'];
    const there = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && !ignored.includes(entry.name))
      .map(({ name }) => name);
    expect(folders.map(({ name }) => name).sort()).toEqual(there.sort());
  });

  test('lets no folder import one that comes after it', () => {
    const upward = product.flatMap(({ name, imports: allowed, typesOf = [] }, at) =>
      [...allowed, ...typesOf]
        .filter((other) => product.findIndex((folder) => folder.name === other) >= at)
        .map((other) => `${name} imports ${other}`),
    );
    expect(upward).toEqual([]);
  });

  test('is kept by every import', () => {
    expect(imports.length).toBeGreaterThan(1_500);
    expect(forbidden(imports)).toEqual([]);
  });

  test('tells an import that it does not allow, and takes a type where only types may be had', () => {
    const from = 'client/http.ts';
    const text = `import type { a } from '../api/app'; import { b } from '../api/server'; export { c } from '../store/pool';`;
    expect(forbidden(importsOf(from, text))).toEqual([
      'client/http.ts imports api/server.ts',
      'client/http.ts imports store/pool.ts',
    ]);
  });

  test('names nothing that is not imported', () => {
    const used = new Set(imports.map(({ from, to }) => `${roomOf(from)} ${roomOf(to)}`));
    const unused = product.flatMap(({ name, imports: allowed, typesOf = [] }) =>
      [...allowed, ...typesOf].filter((other) => !used.has(`${name} ${other}`)).map((other) => `${name}: ${other}`),
    );
    expect(unused).toEqual([]);
  });

  test('is the image’s: what the Dockerfile copies', () => {
    const copied = textOf('Dockerfile')
      .split('\n')
      .flatMap((line) => /^COPY ([a-z]+) \1$/.exec(line)?.[1] ?? []);
    expect(copied.sort()).toEqual(folders.flatMap(({ name, inImage }) => (inImage ? [name] : [])).sort());
  });

  test.each([
    ['tsconfig.json', folders.filter(({ name }) => name !== 'dashboard' && sourcesOf(name).length > 0)],
    ['tsconfig.workflow.json', folders.filter(({ sandboxed }) => sandboxed)],
  ])('is what %s compiles', (file, compiled) => {
    const [, included = ''] = /"include": \[([^\]]*)\]/.exec(textOf(file)) ?? [];
    const names = [...included.matchAll(/"([a-z]+)"/g)].map(([, name]) => name);
    expect(names.sort()).toEqual(compiled.map(({ name }) => name).sort());
  });

  test('is the table of CONTRIBUTING.md', () => {
    const row = (cells: readonly string[]): string => cells.map((cell) => cell.trim()).join(' | ');
    const table = textOf('CONTRIBUTING.md')
      .split('\n')
      .filter((line) => /^\| `[a-z]+\/`/.test(line))
      .map((line) => row(line.split('|').slice(1, -1)));
    const may = ({ imports: allowed, typesOf = [] }: Folder): string =>
      [...allowed, ...typesOf.map((name) => `types of ${name}`)].join(', ');
    const wanted = folders.map((folder) =>
      row([`\`${folder.name}/\``, folder.what, isAll(folder) ? 'all' : may(folder)]),
    );
    expect(table).toEqual(wanted);
  });
});

const isAll = ({ imports: allowed }: Folder): boolean => product.every(({ name }) => allowed.includes(name));

describe('imports', () => {
  test('go in no circle, types included', () => {
    expect(cyclesOf(imports)).toEqual([]);
  });

  test('that go in a circle are told', () => {
    const circle = [
      { from: 'a', to: 'b' },
      { from: 'b', to: 'c' },
      { from: 'c', to: 'a' },
      { from: 'c', to: 'd' },
      { from: 'd', to: 'e' },
    ];
    expect(cyclesOf(circle)).toEqual([['a', 'b', 'c']]);
  });
});
