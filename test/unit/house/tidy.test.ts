/** What the house asks of every file: it says what it is for, and it stays short enough to be read at once. */
import ts from 'typescript';
import list from '../../../scripts/folders.json';
import { sourcesOf, textOf } from '../../support/import-graph';

const lengthMax = { file: 300, function: 90 };

/**
 * What was longer when the bounds were set, with its lines. It may get shorter, and leaves the list then; nothing is added to it.
 */
const longFiles: Record<string, number> = {
  'scripts/chaos/checks.ts': 358,
  'scripts/chaos/installation.ts': 343,
  'scripts/stand-ins/e2b.ts': 340,
  'workflows/agent/sandbox-session.ts': 360,
};
const longFunctions: Record<string, number> = {
  'authority/decide.ts createDecideBatch': 126,
};

const programs = [...list.product.map(({ name }) => name), 'scripts'].flatMap((folder) => sourcesOf(folder));
const tests = sourcesOf('test').filter((file) => file.endsWith('.test.ts'));
const parse = (file: string, text = textOf(file)): ts.SourceFile =>
  ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
const lineAt = (tree: ts.SourceFile, place: number): number => tree.getLineAndCharacterOfPosition(place).line;

const linesOf = (text: string): number => text.split('\n').length - 1;

/** The named functions of a file that are longer than the bound, as `file name`, with their lines. */
function longFunctionsOf(file: string, tree = parse(file)): [name: string, lines: number][] {
  const found: [string, number][] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const lines = lineAt(tree, node.end) - lineAt(tree, node.getStart()) + 1;
      if (lines > lengthMax.function) found.push([`${file} ${nameOf(node)}`, lines]);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

function nameOf(node: ts.SignatureDeclaration): string {
  if (node.name) return node.name.getText();
  return ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : 'without a name';
}

/** Those of what is long that no list has, and those of the list that are no longer as long as it says. */
const differences = (found: readonly [name: string, lines: number][], known: Record<string, number>): string[] => [
  ...found.filter(([name, lines]) => lines > (known[name] ?? 0)).map(([name, lines]) => `${name} has ${lines} lines`),
  ...Object.keys(known)
    .filter((name) => !found.some(([other]) => other === name))
    .map((name) => `${name} is short enough to leave the list`),
];

/** The names of a file's tests, as far as they are written out. */
function testNamesOf(file: string, tree = parse(file)): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^test(\.each\b|$)/.test(node.expression.getText())) {
      const [name] = node.arguments;
      if (name && ts.isStringLiteralLike(name)) found.push(name.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** A sentence about behaviour has more than a word, and does not say that it should. One that is filled in whole is its table's. */
const isSentence = (name: string): boolean =>
  /^[%$][\w.]+([:,]? [%$][\w.]+)*$/.test(name) || (/\s/.test(name) && !/^(should|it|tests?)\b/i.test(name));

describe('every file', () => {
  test('of the product begins by saying what it is for', () => {
    const silent = programs.filter((file) => !/^(#!.*\n)?\s*(\/\*\*|\/\/)/.test(textOf(file)));
    expect(silent).toEqual([]);
  });

  test('is short enough', () => {
    const long = programs
      .map((file): [string, number] => [file, linesOf(textOf(file))])
      .filter(([, lines]) => lines > lengthMax.file);
    expect(differences(long, longFiles)).toEqual([]);
  });

  test('has functions that are short enough', () => {
    expect(programs.length).toBeGreaterThan(300);
    expect(
      differences(
        programs.flatMap((file) => longFunctionsOf(file)),
        longFunctions,
      ),
    ).toEqual([]);
  });

  test('speaks SQL in the store alone', () => {
    const rooms = list.product.map(({ name }) => name).filter((name) => name !== 'store');
    const speaking = rooms
      .flatMap((room) => sourcesOf(room))
      .filter((file) => /\.query(<[^(]*>)?\(/.test(textOf(file)));
    expect(speaking).toEqual([]);
  });

  test('of tests names them by sentences', () => {
    const names = tests.flatMap((file) => testNamesOf(file).map((name) => `${file}: ${name}`));
    expect(names.length).toBeGreaterThan(600);
    expect(tests.flatMap((file) => testNamesOf(file)).filter((name) => !isSentence(name))).toEqual([]);
  });
});

describe('what is not as the house asks is told:', () => {
  test('a long function, by its name', () => {
    const text = `const long = () => {\n${'f();\n'.repeat(lengthMax.function)}};`;
    expect(longFunctionsOf('a.ts', parse('a.ts', text))).toEqual([['a.ts long', lengthMax.function + 2]]);
  });

  test('what grew beyond what the list says, and what left it', () => {
    expect(differences([['a', 5]], { a: 4 })).toEqual(['a has 5 lines']);
    expect(differences([['a', 4]], { a: 4 })).toEqual([]);
    expect(differences([], { a: 4 })).toEqual(['a is short enough to leave the list']);
  });

  test('a test that is named by a word, or by what it should do', () => {
    const text = `test('money', f); test('should pay', f); test.each([1])('%s', f); test('pays once', f);`;
    expect(testNamesOf('a.test.ts', parse('a.test.ts', text)).filter((name) => !isSentence(name))).toEqual([
      'money',
      'should pay',
    ]);
  });
});
