import { readFileSync } from 'node:fs';
import importX, { createNodeResolver } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

const deny = (group, message) => ({ group, message });

/** Which folder may import which. Whether only types are imported, where only types may be, a test looks at. */
const { product, around } = JSON.parse(readFileSync(new URL('scripts/folders.json', import.meta.url), 'utf8'));
const names = [...product, ...around].map(({ name }) => name);
const zones = [...product, ...around].map(({ name, imports, typesOf = [] }) => ({
  target: `./${name}`,
  from: names.filter((other) => ![name, ...imports, ...typesOf].includes(other)).map((other) => `./${other}`),
  message: `${name}/ may import ${imports.join(', ') || 'no other folder'} (scripts/folders.json).`,
}));
/** What runs in the workflow sandbox speaks to nothing. */
const outside = ['node:*', 'pg'];
const sandboxed = product.filter((folder) => folder.sandboxed).map(({ name }) => `${name}/**/*.ts`);

export default tseslint.config(
  { ignores: ['node_modules', '.spendlock', 'coverage', 'dist', '**/*.cjs', '**/*.mjs'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.tsx', '.cjs', '.json'] })] },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones, basePath: import.meta.dirname }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/require-await': 'off',
      // A field is left out of an object by naming it: `const { left, ...rest } = whole`.
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
    },
  },
  {
    files: sandboxed,
    rules: {
      'no-restricted-imports': ['error', { patterns: [deny(outside, 'This runs in the workflow sandbox: no I/O.')] }],
    },
  },
  {
    files: ['core/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [deny([...outside, '@temporalio/*'], 'core/ is pure: no I/O, clock or randomness.')] },
      ],
      'no-restricted-globals': ['error', 'process', 'fetch', 'setTimeout', 'crypto'],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'core/ is pure.' },
        { object: 'Date', property: 'now', message: 'The clock is an argument.' },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: 'The clock is an argument.' },
      ],
    },
  },
  {
    // Programs that talk to a person at a terminal print; the rest logs.
    files: ['cli/**/*.ts', 'scripts/**/*.ts', 'test/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
);
