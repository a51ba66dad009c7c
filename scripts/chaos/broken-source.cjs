/**
 * Loaded first into the processes of a build that is broken on purpose: when a source file is read, what it has instead of a
 * safeguard is put into it. A text that is not there ends the process: a build that is not broken must not look as if it were.
 *
 * Plain JavaScript, since it is there before what reads TypeScript.
 */
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const { root, changes, appliedFile } = JSON.parse(process.env.SPENDLOCK_CHAOS_BROKEN_SOURCE);
const byPath = new Map();
for (const change of changes) {
  const file = path.join(root, change.file);
  byPath.set(file, [...(byPath.get(file) ?? []), change]);
}

const read = fs.readFileSync;
fs.readFileSync = function (file, ...rest) {
  const content = read.call(fs, file, ...rest);
  const found = typeof file === 'string' ? byPath.get(file) : undefined;
  if (!found || typeof content !== 'string') return content;
  let changed = content;
  for (const { from, to } of found) {
    if (changed.split(from).length !== 2) {
      process.stderr.write(`${file} has changed: break it in another way\n`);
      process.exit(1);
    }
    changed = changed.replace(from, () => to);
    fs.appendFileSync(appliedFile, `${JSON.stringify({ file, from })}\n`);
  }
  return changed;
};
