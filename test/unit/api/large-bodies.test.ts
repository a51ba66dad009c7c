/** Reading of large bodies piece by piece, on a thread that keeps no process from its end. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { readLarge } from '../../../api/http/large-bodies';

const root = path.join(__dirname, '..', '..', '..');

test('a body is the same however it is cut', async () => {
  const content = randomBytes(700_000);
  const body = Buffer.from(
    JSON.stringify({ task: 'ü', file: { name: 'a', contentBase64: content.toString('base64') } }),
  );
  for (const length of [1_000, 65_536, body.length]) {
    const pieces = Array.from({ length: Math.ceil(body.length / length) }, (_, at) =>
      body.subarray(at * length, (at + 1) * length),
    );
    const { text, file } = await readLarge(pieces);
    expect(JSON.parse(text)).toEqual({ task: 'ü', file: { name: 'a', contentBase64: '' } });
    expect(file?.content.equals(content)).toBe(true);
  }
});

test('the content of a file may be as large as a file', async () => {
  const contentBase64 = 'a'.repeat(25 * 2 ** 20);
  const { file } = await readLarge([Buffer.from(JSON.stringify({ task: 'x', file: { name: 'a', contentBase64 } }))]);
  expect(file?.content.length).toBe((contentBase64.length * 3) / 4);
});

test('one that is cut off is told to who reads it, and the next one is whole', async () => {
  const cut = (async function* () {
    yield Buffer.from('{"task":');
    await Promise.resolve();
    throw new Error('the client went');
  })();
  await expect(readLarge(cut)).rejects.toThrow('the client went');
  await expect(readLarge([Buffer.from('{"task":'), Buffer.from('1}')])).resolves.toMatchObject({ text: '{"task":1}' });
  await expect(readLarge([Buffer.from('{"task":')])).rejects.toMatchObject({ code: 'invalid_json' });
});

test('a process that has read one ends by itself', async () => {
  const script = `const { readLarge } = require('./api/http/large-bodies.ts'); void readLarge([Buffer.from('{"task":1}')]).then(({ text }) => console.log(text));`;
  const ended = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--eval', script], {
    cwd: root,
    timeout: 60_000,
  });
  expect(ended.stdout.trim()).toBe('{"task":1}');
});
