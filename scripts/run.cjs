/**
 * Runs a TypeScript program of this repository: `node scripts/run.cjs FILE ARGUMENTS`. The sources are compiled as they are
 * asked for, and packages are left as they are. A loader that Node is given by an option (`--import tsx`) looks at every file of
 * every package as well, and starts again in each of Temporal's workflow threads, which have no TypeScript to load: it was half of
 * what the start of a worker cost. A Node that cannot `require` an ES module has it all the same.
 */
'use strict';
const { readFileSync } = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { takeSignalsOnce } = require('./one-signal.cjs');

const options = {
  swcrc: false,
  sourceMaps: 'inline',
  jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
  module: { type: 'commonjs' },
};

const isOurs = (module) => module?.filename?.endsWith('.ts');

function compileTypeScript() {
  const { transformSync } = require('@swc/core');
  // Errors name the lines of our sources; the maps of packages, of which there are a thousand, are not read.
  process.setSourceMapsEnabled(true);
  // What is loaded when it is needed names the file that it would be compiled to.
  const { _resolveFilename: resolveFilename } = Module;
  Module._resolveFilename = (request, ...from) =>
    resolveFilename(/^[.].*[.]js$/.test(request) && isOurs(from[0]) ? request.slice(0, -3) : request, ...from);
  const { '.js': loadScript } = Module._extensions;
  Module._extensions['.js'] = (module, filename) => {
    process.setSourceMapsEnabled(false);
    try {
      loadScript(module, filename);
    } finally {
      process.setSourceMapsEnabled(true);
    }
  };
  Module._extensions['.ts'] = (module, filename) => {
    const { code } = transformSync(readFileSync(filename, 'utf8'), { ...options, filename });
    module._compile(code, filename);
  };
}

takeSignalsOnce();
if (process.features.require_module) compileTypeScript();
else require('tsx/cjs');
process.argv.splice(1, 1);
process.argv[1] = path.resolve(process.argv[1]);
Module.runMain();
