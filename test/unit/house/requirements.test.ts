/** docs/requirements.md: what is cited is there, and what is said to show it is a test. */
import { sourcesOf, textOf } from '../../support/import-graph';
import list from '../../../scripts/folders.json';

const page = textOf('docs/requirements.md');
const rows = [...page.matchAll(/^\| ([A-Z]\d+) +\| .*? \| (.*?) +\|$/gm)].map(([, id = '', shown = '']) => ({
  id,
  shown: shown.split('<br>').map((text) => {
    const [, file = '', title = ''] = /^`(.+?)`: (.+)$/.exec(text) ?? [];
    return { file: `test/${file}`, title };
  }),
}));
const known = new Set(rows.map(({ id }) => id));

/** In a comment or a name: `requirement Q6`, `(F8, F19)`, `C1 to C3`. */
const cited = /(?:requirements? |as |[(,] ?|^)([BCFGOQSTV]\d{1,2})\b/g;
const citedIn = (text: string): string[] => [...text.matchAll(cited)].map(([, id = '']) => id);

describe('the requirements', () => {
  test('have each id once', () => {
    expect(rows.length).toBeGreaterThan(50);
    expect(known.size).toBe(rows.length);
  });

  test('have every id that a comment or the name of a test cites', () => {
    const lines = [...list.product, ...list.around]
      .map(({ name }) => name)
      .flatMap((folder) => sourcesOf(folder))
      .flatMap((file) =>
        textOf(file)
          .split('\n')
          .map((line) => ({ file, line })),
      )
      .filter(({ line }) => /^\s*(\/?\*|\/\/|(test|it|describe)\b)|^\s*['`].*\([BCFGOQSTV]\d/.test(line));
    const missing = lines.flatMap(({ file, line }) =>
      citedIn(line).flatMap((id) => (known.has(id) ? [] : [`${file} cites ${id}`])),
    );
    expect(missing).toEqual([]);
    expect(new Set(lines.flatMap(({ line }) => citedIn(line))).size).toBeGreaterThan(30);
  });

  test.each(rows)('$id is shown by tests that are there', ({ shown }) => {
    const missing = shown.filter(({ file, title }) => title === '' || !textOf(file).includes(title));
    expect(missing).toEqual([]);
  });
});
