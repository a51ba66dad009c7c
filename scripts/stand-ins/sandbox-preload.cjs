/**
 * Runs inside the sandbox stand-in's child process before the program. Node's permission model already keeps files and
 * other processes away; this maps the sandbox's home to the folder that stands for it, and takes the network away, which
 * the permission model does not do. It keeps an agent's mistakes in bounds; it is no wall against an attacker, which is why
 * code that a real model wrote runs here only when it is asked for.
 */
'use strict';
const fs = require('node:fs');
const dgram = require('node:dgram');
const dns = require('node:dns');
const net = require('node:net');

const home = process.env.SANDBOX_HOME;
const mapped = (value) =>
  typeof value === 'string' && /^\/home\/user(\/|$)/.test(value) ? home + value.slice(10) : value;
for (const api of [fs, fs.promises]) {
  for (const [name, original] of Object.entries(api)) {
    if (typeof original !== 'function' || /^[A-Z_]/.test(name)) continue;
    api[name] = (...args) => original.apply(api, args.map(mapped));
  }
}

const noNetwork = () => {
  throw new Error('This sandbox stand-in has no network.');
};
net.Socket.prototype.connect = noNetwork;
net.Server.prototype.listen = noNetwork;
dgram.createSocket = noNetwork;
dns.lookup = noNetwork;

process.on('uncaughtException', (error) => {
  const { name = 'Error', message = String(error), stack = '' } = error ?? {};
  fs.writeSync(2, `\u0000${JSON.stringify({ name, value: message, traceback: stack })}\n`);
  process.exit(1);
});
delete process.env.SANDBOX_HOME;
