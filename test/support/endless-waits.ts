/** Finds waits that have no end in a source text, by its syntax. docs/reliability.md says what ends which. */
import ts from 'typescript';

/** Where connections to Postgres are made, with bounds on each of their waits. */
const ofPostgres = ['store/pool.ts', 'store/connections.ts', 'store/listener.ts'];
/** An argument that bounds a call, as it is written. */
const bounds = {
  http: /\bsignal\b/,
  sdk: /\btimeout\b|\babortSignal\b/,
  temporal: /\bsignallingConnection\b|\bconnectTimeout\b/,
  server: /\bserverOptions\b|\bheadersTimeout\b/,
  sandbox: /\bapiOptions\b|\brequestTimeoutMs\b/,
};

/** Sentences that name what would wait for ever, with their lines. */
export function endlessWaits(file: string, source: string): string[] {
  const tree = ts.createSourceFile(
    file,
    source,
    ts.ScriptTarget.Latest,
    true,
    file.endsWith('x') ? ts.ScriptKind.TSX : undefined,
  );
  const modules = importsOf(tree);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const problem = ts.isNewExpression(node)
      ? ofNew(node, { file, modules })
      : ts.isCallExpression(node)
        ? ofCall(node, modules)
        : undefined;
    if (problem) found.push(`${file}:${tree.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${problem}`);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** Which module each imported name comes from. */
function importsOf(tree: ts.SourceFile): Map<string, string> {
  const modules = new Map<string, string>();
  for (const statement of tree.statements) {
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) continue;
    const { importClause } = statement;
    const names = importClause?.namedBindings;
    if (importClause?.name) modules.set(importClause.name.text, statement.moduleSpecifier.text);
    if (names && ts.isNamedImports(names))
      for (const { name } of names.elements) modules.set(name.text, statement.moduleSpecifier.text);
    if (names && ts.isNamespaceImport(names)) modules.set(names.name.text, statement.moduleSpecifier.text);
  }
  return modules;
}

const argumentsOf = (node: ts.CallExpression | ts.NewExpression): string =>
  (node.arguments ?? []).map((argument) => argument.getText()).join(', ');

function ofNew(
  node: ts.NewExpression,
  { file, modules }: { file: string; modules: Map<string, string> },
): string | undefined {
  const name = node.expression.getText();
  const module = modules.get(name.split('.')[0] ?? '');
  if (module === 'pg' && !ofPostgres.includes(file)) return `a ${name} of pg: use createPool, or connectTo`;
  if (['Anthropic', 'OpenAI'].includes(name) && !bounds.sdk.test(argumentsOf(node)))
    return `a client of ${name} without a timeout`;
  if (name === 'ReadableStream' && !/\bcancel\b|\bstopped\b/.test(argumentsOf(node)))
    return 'a stream that does not hear when its reader goes';
  return undefined;
}

function ofCall(node: ts.CallExpression, modules: Map<string, string>): string | undefined {
  const name = node.expression.getText();
  const given = argumentsOf(node);
  const [object = '', method = ''] = name.split('.');
  const module = modules.get(object);
  if (name === 'AbortSignal.any' && given.includes('AbortSignal.timeout'))
    return 'an AbortSignal.any of a timeout that nothing holds on to: use abortedAfter, or Patience';
  if (/^(globalThis\.)?fetch$/.test(name) && !bounds.http.test(given)) return 'a fetch without a signal';
  if (
    /^(node:)?(http|https|http2|net|tls)$/.test(module ?? '') &&
    /^(request|get|connect|createConnection)$/.test(method || object) &&
    !/timeout/.test(given)
  )
    return `${name} without a timeout`;
  if (module === '@temporalio/client' && /^Connection\.(connect|lazy)$/.test(name) && !bounds.temporal.test(given))
    return 'a connection to Temporal whose calls have no deadline';
  if (module === '@hono/node-server' && name === 'serve' && !bounds.server.test(given))
    return 'a server without limits for slow clients';
  if (/^Sandbox\.(create|connect|list|kill|pause|setTimeout|getInfo)$/.test(name) && !bounds.sandbox.test(given))
    return `${name} without a time limit for its request`;
  if (/\.(countTokens|count)$/.test(name) && /^client\./.test(name) && !bounds.sdk.test(given))
    return `${name} without a timeout`;
  return undefined;
}
