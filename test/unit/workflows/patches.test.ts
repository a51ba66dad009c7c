/** The registry of patches: each is used, each use is registered, and recorded histories lie on both sides of it. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { patches } from '../../../workflows/patches';
import { sourcesOf, textOf } from '../../support/import-graph';

const histories = path.join(__dirname, '..', '..', 'replay', 'histories');

describe('patches', () => {
  const sources = sourcesOf('workflows').map((file) => ({ file, text: textOf(file) }));

  test('are asked about by the registry alone, and each of them is', () => {
    const direct = sources.filter(({ text }) =>
      /\b(patched|deprecatePatch)\b.*@temporalio\/workflow/.test(text.replaceAll('\n', ' ').slice(0, 4_000)),
    );
    expect(direct.map(({ file }) => file)).toEqual(['workflows/patches.ts']);
    const used = sources.flatMap(({ text }) => [...text.matchAll(/isPatched\('([^']+)'\)/g)].map(([, id]) => id));
    expect(new Set(used)).toEqual(new Set(Object.keys(patches)));
  });

  test.each(Object.entries(patches))('%s has a recorded history with it and one without', (patchId, { workflow }) => {
    const files = readdirSync(histories, { recursive: true, encoding: 'utf8' }).filter((file) =>
      workflow.split(', ').some((type) => file.endsWith(`.${type}.json`)),
    );
    const marks = files.map((file) => {
      const text = readFileSync(path.join(histories, file), 'utf8');
      return [...text.matchAll(/"data": ?"([A-Za-z0-9+/=]+)"/g)].some(([, data]) =>
        Buffer.from(data ?? '', 'base64')
          .toString()
          .includes(`"${patchId}"`),
      );
    });
    expect([marks.includes(true), marks.includes(false)]).toEqual([true, true]);
  });
});
