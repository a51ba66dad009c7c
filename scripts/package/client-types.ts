/**
 * The types of the client's package. In this repository they are inferred from the API's schemas, whose library nobody should have
 * to install for them: the package has what each schema takes and gives written out.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** What the client imports of the API's schemas, and of their library. */
const imports = /^import type \{([^}]*)\} from '(\.\.\/api\/[^']+|@hono\/zod-openapi)';\n/gm;
const exports = /^export type \{([^}]*)\} from '(\.\.\/api\/[^']+)';\n/gm;
const writtenOut = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.InTypeAlias;

/** As much of the schemas' library as a type needs. */
const library = `/** What the API takes and gives. */
export declare namespace z {
  interface ZodType<Output = unknown, Input = Output> {
    readonly output: Output;
    readonly input: Input;
  }
  type infer<S extends ZodType> = S['output'];
  type input<S extends ZodType> = S['input'];
}
`;

/**
 * Replaces what the declarations in `types/client` import from the API by types that need nothing.
 * @throws Error when a type cannot be written out.
 */
export function writeOutApiTypes(root: string, types: string): void {
  const folder = path.join(types, 'client');
  const written = new WrittenTypes(root);
  const names = (list: string): string[] => list.split(',').map((name) => name.trim());
  const declarations = new Map([['z', library]]);
  const from = (list: string, module: string): string => {
    for (const name of names(list))
      if (!declarations.has(name)) declarations.set(name, written.declarationOf(name, module));
    return `type {${list}} from './api-types';\n`;
  };
  for (const file of readdirSync(folder)) {
    const before = readFileSync(path.join(folder, file), 'utf8');
    const after = before
      .replaceAll(imports, (_line, list: string, module: string) => `import ${from(list, module)}`)
      .replaceAll(exports, (_line, list: string, module: string) => `export ${from(list, module)}`);
    if (after.includes("from '../api"))
      throw new Error(`client/${file} imports the API in a way that is not known here.`);
    writeFileSync(path.join(folder, file), after);
  }
  writeFileSync(path.join(folder, 'api-types.d.ts'), [...declarations.values()].join(''));
  rmSync(path.join(types, 'api'), { recursive: true, force: true });
}

class WrittenTypes {
  private readonly program: ts.Program;
  private readonly checker: ts.TypeChecker;
  private readonly entry: string;

  constructor(private readonly root: string) {
    const config = ts.readConfigFile(path.join(root, 'tsconfig.build.json'), (file) => ts.sys.readFile(file))
      .config as object;
    this.entry = path.join(root, 'client', 'index.ts');
    this.program = ts.createProgram([this.entry], ts.parseJsonConfigFileContent(config, ts.sys, root).options);
    this.checker = this.program.getTypeChecker();
  }

  /** @throws Error */
  declarationOf(name: string, module: string): string {
    const file = this.program.getSourceFile(path.join(this.root, 'client', `${module}.ts`));
    const exported = file && this.checker.getSymbolAtLocation(file);
    const symbol = exported && this.checker.getExportsOfModule(exported).find((symbol) => symbol.name === name);
    if (!symbol) throw new Error(`${module} exports no ${name}.`);
    const isType = (symbol.flags & (ts.SymbolFlags.TypeAlias | ts.SymbolFlags.Interface)) !== 0;
    if (isType) return `export type ${name} = ${this.write(name, this.checker.getDeclaredTypeOfSymbol(symbol))};\n`;
    const [output, input] = ['output', 'input'].map((side) =>
      this.write(name, this.property(this.property(this.checker.getTypeOfSymbol(symbol), '_zod'), side)),
    );
    // What is taken is what is given, as a rule.
    return `export declare const ${name}: z.ZodType<${output === input ? output : `${output}, ${input}`}>;\n`;
  }

  private property(type: ts.Type, name: string): ts.Type {
    const property = type.getProperty(name);
    if (!property) throw new Error(`${this.checker.typeToString(type)} is no schema: it has no ${name}.`);
    return this.checker.getTypeOfSymbol(property);
  }

  private write(name: string, type: ts.Type): string {
    const text = this.checker.typeToString(type, this.program.getSourceFile(this.entry), writtenOut);
    if (text.includes('import(')) throw new Error(`${name} cannot be written out: ${text}`);
    return text;
  }
}
