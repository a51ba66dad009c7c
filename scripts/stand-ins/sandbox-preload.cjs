/**
 * Runs inside the sandbox stand-in's child process before the program. Node's permission model keeps files, other programs,
 * threads, addons and the inspector away. This maps the sandbox's home to the folder that stands for it, and takes away what
 * the permission model lets through: the network, signals to other processes, links, and every module of Node that is not
 * listed below. It keeps an agent's mistakes in bounds; a program that is out to break Node itself is held by nothing here,
 * which is why code that a real model wrote runs here only when it is asked for.
 */
'use strict';
const fs = require('node:fs');
const { Writable } = require('node:stream');
const { builtinModules, syncBuiltinESMExports } = require('node:module');

const home = process.env.SANDBOX_HOME;
const errorsFd = 3;
const textCharsMax = 20_000;

/** A function and a class, in the place of one. */
const refusing = (what) =>
  function refused() {
    throw new Error(`This sandbox stand-in has no ${what}.`);
  };

// The home is where the real one has it.
const mapped = (value) =>
  typeof value === 'string' && /^\/home\/user(\/|$)/.test(value) ? home + value.slice(10) : value;
for (const api of [fs, fs.promises]) {
  for (const [name, original] of Object.entries(api)) {
    if (typeof original !== 'function' || /^[A-Z_]/.test(name)) continue;
    // A link would lead whoever reads the sandbox's files from outside to other files.
    api[name] = /^(sym)?link/.test(name) ? refusing('links') : (...args) => original.apply(api, args.map(mapped));
  }
}

// Output is written by file descriptor: the sockets that Node would make of it would come with the network's classes.
const { writeSync } = fs;
for (const [name, fd] of [
  ['stdout', 1],
  ['stderr', 2],
]) {
  const stream = new Writable({
    decodeStrings: true,
    write(chunk, _encoding, done) {
      for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
      done();
    },
  });
  Object.defineProperty(process, name, { value: Object.assign(stream, { fd, isTTY: false }), enumerable: true });
}

/** What a program may use of Node: computing, its files, and time. The rest is refused, by `require` and by `import`. */
const allowed = new Set(
  (
    'assert assert/strict async_hooks buffer console constants crypto diagnostics_channel events fs fs/promises module os path ' +
    'path/posix path/win32 perf_hooks process punycode querystring readline readline/promises stream stream/consumers ' +
    'stream/promises stream/web string_decoder sys timers timers/promises url util util/types zlib ' +
    '_stream_duplex _stream_passthrough _stream_readable _stream_transform _stream_wrap _stream_writable'
  ).split(' '),
);
const close = (target, names, what) => {
  for (const name of names) {
    const { configurable = true, writable = false } = Object.getOwnPropertyDescriptor(target, name) ?? {};
    if (configurable)
      Object.defineProperty(target, name, { value: refusing(what), configurable: true, enumerable: true });
    else if (writable) target[name] = refusing(what);
  }
};
const others = [];
for (const name of builtinModules) {
  // The two that change Node when they are loaded can do nothing without those that are closed.
  if (allowed.has(name.replace(/^node:/, '')) || /^(node:)?(domain|repl)$/.test(name)) continue;
  try {
    others.push([name, require(name)]);
  } catch {
    // The permission model refuses it by itself.
  }
}
// All are loaded before the first is closed, since they need each other.
for (const [name, closed] of others) {
  const isNetwork = /^(node:)?(net|dgram|dns|http|https|http2|tls|_http|_tls)/.test(name);
  close(closed, Object.getOwnPropertyNames(closed), isNetwork ? 'network' : `module ${name}`);
}
close(require('node:async_hooks'), ['createHook', 'executionAsyncResource'], 'hooks into Node');
close(require('node:module'), ['register', 'registerHooks'], 'loaders');
close(require('node:os'), ['setPriority'], 'other processes');
syncBuiltinESMExports();

const noNetwork = async () => refusing('network')();
globalThis.fetch = noNetwork;
for (const name of ['WebSocket', 'EventSource']) if (name in globalThis) globalThis[name] = refusing('network');
close(
  process,
  [
    'kill',
    '_kill',
    '_debugProcess',
    '_debugEnd',
    'abort',
    'execve',
    'setuid',
    'setgid',
    'seteuid',
    'setegid',
    'initgroups',
    'setgroups',
  ],
  'other processes',
);
close(process, ['binding', '_linkedBinding', 'dlopen', '_getActiveHandles', '_getActiveRequests'], 'way into Node');
close(process.report ?? {}, ['writeReport', 'getReport'], 'reports');

// The channel takes no more than this of an error, and nothing of it can be longer than a pipe takes at once.
const shortened = (value) => {
  try {
    return String(value).slice(0, textCharsMax);
  } catch {
    return '';
  }
};
process.on('uncaughtException', (error) => {
  let told;
  try {
    const { name = 'Error', message = shortened(error), stack = '' } = error ?? {};
    told = { name: shortened(name), value: shortened(message), traceback: shortened(stack) };
  } catch {
    told = { name: 'Error', value: 'It threw something that cannot be read.', traceback: '' };
  }
  writeSync(errorsFd, `${JSON.stringify(told)}\n`);
  process.exit(1);
});
delete process.env.SANDBOX_HOME;
