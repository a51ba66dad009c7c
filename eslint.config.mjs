import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** Folders that run inside the workflow sandbox or are pure: nothing from the outside world may be imported there. */
const outside = ['**/activities/**', '**/workers/**', '**/api/**', '**/telemetry/**', '**/scripts/**'];
const deny = (group, message) => ({ group, message });

export default tseslint.config(
  { ignores: ['node_modules', '.spendlock', 'coverage', 'dist', '**/*.cjs', '**/*.mjs'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
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
    // core ← workflows: core imports nothing but core, workflows import core and the contracts.
    files: ['core/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            deny(
              [...outside, '**/workflows/**', 'node:*', 'pg', '@temporalio/*'],
              'core/ is pure: no I/O, clock or randomness.',
            ),
          ],
        },
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
    files: ['workflows/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            deny(
              ['**/activities/**', '**/workers/**', '**/api/**', '**/telemetry/**', '**/scripts/**', 'node:*', 'pg'],
              'Workflow code imports core/ and contracts/ only.',
            ),
          ],
        },
      ],
    },
  },
  {
    files: ['contracts/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            deny(['**/activities/**', '**/workers/**', '**/api/**', 'node:*', 'pg'], 'Contracts are types only.'),
          ],
        },
      ],
    },
  },
  {
    // Programs that talk to a person at a terminal print; the rest logs.
    files: ['cli/**/*.ts', 'scripts/**/*.ts', 'test/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
);
