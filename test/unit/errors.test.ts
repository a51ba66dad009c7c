import { readFileSync } from 'node:fs';
import path from 'node:path';
import { errorCatalogue } from '../../core/errors';

const page = readFileSync(path.join(__dirname, '..', '..', 'docs', 'errors.md'), 'utf8');

describe('docs/errors.md', () => {
  const documented = [...page.matchAll(/^\| `(\w+)` +\| (\d+) +\| (yes|no) +\| (.*?) +\|$/gm)].map(
    ([, code, status, retry, action]) => [code, { httpStatus: Number(status), retry: retry === 'yes', action }],
  );

  test('has every error of the catalogue, and no other', () => {
    expect(Object.fromEntries(documented)).toEqual(errorCatalogue);
  });
});
