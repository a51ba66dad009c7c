/** Unit tests need nothing; integration tests share one Temporal server and one Postgres, started in globalSetup. */
const esmPackages = [
  'jose',
  'node-pg-migrate',
  'temporal-polyfill',
  'temporal-utils',
  'chalk',
  'glob',
  'minimatch',
  'brace-expansion',
  'balanced-match',
];
const common = {
  testEnvironment: '<rootDir>/test/support/host-environment.ts',
  rootDir: __dirname,
  transform: {
    '^.+\\.(t|j|mj)s$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!(${esmPackages.join('|')})/)`],
  modulePathIgnorePatterns: ['<rootDir>/.spendlock'],
};
module.exports = {
  // Patience with a busy machine, not a promise; what is promised in seconds is asserted.
  testTimeout: 300_000,
  // They wait more than they compute.
  maxWorkers: 4,
  testSequencer: '<rootDir>/test/support/longest-first.cjs',
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  // `npm run coverage`: the branches of what decides. What runs in processes that a test starts is not counted (CONTRIBUTING.md).
  collectCoverageFrom: ['{core,authority,workflows}/**/*.ts'],
  coverageReporters: ['text', 'html'],
  reporters: ['default', '<rootDir>/test/support/counts-reporter.cjs'],
  projects: [
    { ...common, displayName: 'unit', testMatch: ['<rootDir>/test/unit/**/*.test.ts'] },
    // Needs a Chromium: `npm run test:browser`.
    { ...common, displayName: 'browser', testMatch: ['<rootDir>/test/browser/**/*.test.ts'] },
    // Needs a Prometheus: `npm run test:prometheus`.
    { ...common, displayName: 'prometheus', testMatch: ['<rootDir>/test/prometheus/**/*.test.ts'] },
    // Needs a Python with venv, and PyPI: `npm run test:python`.
    {
      ...common,
      displayName: 'python',
      testMatch: ['<rootDir>/test/python/**/*.test.ts'],
      globalSetup: '<rootDir>/test/support/python-setup.ts',
    },
    // Measures, so `npm test` runs it alone, last.
    { ...common, displayName: 'performance', testMatch: ['<rootDir>/test/performance/**/*.test.ts'] },
    { ...common, displayName: 'integration', testMatch: ['<rootDir>/test/{integration,replay,chaos}/**/*.test.ts'] },
  ],
};
