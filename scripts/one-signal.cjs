/**
 * A signal that comes to a process twice at once is one. Ctrl-C reaches a command by its terminal, and once more by whatever started it
 * and hands on what it is told (scripts/bootstrap.cjs, npm): a second Ctrl-C means "at once" in several commands.
 */
'use strict';

/** Nobody presses twice within this. */
const onceMs = 500;
const ignore = () => undefined;

/** To be called before anything listens. */
exports.takeSignalsOnce = () => {
  const firstMs = new Map();
  const { emit } = process;
  process.emit = function (name, ...rest) {
    if (name !== 'SIGINT' && name !== 'SIGTERM' && name !== 'SIGHUP') return emit.call(process, name, ...rest);
    const nowMs = performance.now();
    if (nowMs - (firstMs.get(name) ?? -Infinity) < onceMs) return true;
    firstMs.set(name, nowMs);
    const isHeard = emit.call(process, name, ...rest);
    // Who listens once would be ended by the second: until then somebody listens.
    process.on(name, ignore);
    setTimeout(() => process.off(name, ignore), onceMs).unref();
    return isHeard;
  };
};
