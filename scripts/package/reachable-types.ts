/** Of the declarations that the compiler writes, those that the package's entries lead to: it writes one for each file of the program. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** Removes every declaration in a folder that no entry leads to. Entries are relative to it. */
export function removeUnreachable(types: string, entries: readonly string[]): void {
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const { fileName } of ts.preProcessFile(readFileSync(file, 'utf8')).importedFiles) {
      if (!fileName.startsWith('.')) continue;
      const named = path.join(path.dirname(file), fileName.replace(/\.js$/, ''));
      const found = [`${named}.d.ts`, path.join(named, 'index.d.ts')].find((at) => existsSync(at));
      if (found === undefined) throw new Error(`${file} imports ${fileName}, which has no declaration.`);
      visit(found);
    }
  };
  for (const entry of entries) visit(path.join(types, entry));
  for (const name of readdirSync(types, { recursive: true, encoding: 'utf8' })) {
    const file = path.join(types, name);
    if (name.endsWith('.d.ts') && !reached.has(file)) rmSync(file);
  }
}
