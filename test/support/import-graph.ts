/** Which file of the repository imports which, read from the sources: types included, by whatever way it is written. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

export interface Import {
  from: string;
  to: string;
  /** Nothing of it is there when the program runs. */
  isTypeOnly: boolean;
}

const root = path.join(__dirname, '..', '..');

/** The TypeScript sources of a folder, as paths from the root. */
export const sourcesOf = (folder: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.tsx?$/.test(file) && !file.endsWith('.d.ts'))
    .map((file) => path.posix.join(folder, file.split(path.sep).join('/')))
    .sort();

export const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** The imports among files of the repository; those of packages are left out. */
export const importsOf = (file: string, text = textOf(file)): Import[] => {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, isTypeOnly: boolean): void => {
    if (!specifier || !ts.isStringLiteralLike(specifier) || !specifier.text.startsWith('.')) return;
    const to = fileOf(path.posix.join(path.posix.dirname(file), specifier.text));
    if (to !== undefined) found.push({ from: file, to, isTypeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypes(node.importClause));
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    else if (ts.isCallExpression(node) && /^(import|require|require\.resolve)$/.test(node.expression.getText()))
      add(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
};

function isTypes(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false;
  if (clause.isTypeOnly) return true;
  const { namedBindings } = clause;
  return (
    !clause.name &&
    namedBindings !== undefined &&
    ts.isNamedImports(namedBindings) &&
    namedBindings.elements.length > 0 &&
    namedBindings.elements.every(({ isTypeOnly }) => isTypeOnly)
  );
}

const fileOf = (place: string): string | undefined =>
  ['', '.ts', '.tsx', '/index.ts']
    .map((ending) => `${place}${ending}`)
    .find((file) => /\.tsx?$/.test(file) && existsSync(path.join(root, file)));

/** Circles of imports: each as its files in the order of their names. Empty where there is none. */
export function cyclesOf(imports: readonly Pick<Import, 'from' | 'to'>[]): string[][] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
  return stronglyConnected(targets).filter((files) => files.length > 1);
}

/** Tarjan's algorithm (1972): sets of files of which each is reached from each. */
function stronglyConnected(targets: ReadonlyMap<string, string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const sets: string[][] = [];
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.size - 1);
    stack.push(file);
    for (const to of targets.get(file) ?? []) {
      if (!order.has(to)) visit(to);
      if (stack.includes(to)) lowest.set(file, Math.min(lowest.get(file) ?? 0, lowest.get(to) ?? 0));
    }
    if (lowest.get(file) === order.get(file)) sets.push(stack.splice(stack.indexOf(file)).sort());
  };
  for (const file of targets.keys()) if (!order.has(file)) visit(file);
  return sets;
}
