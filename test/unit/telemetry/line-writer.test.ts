import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LineWriter } from '../../../telemetry/line-writer';

const until = async (look: () => boolean): Promise<void> => {
  for (const untilMs = Date.now() + 10_000; Date.now() < untilMs && !look();)
    await new Promise((resolve) => setTimeout(resolve, 10));
};

describe('a log', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(path.join(tmpdir(), 'spendlock-log-'))));
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test('has each line once and in order, at the end of a process too', async () => {
    const file = path.join(dir, 'a.log');
    const writer = new LineWriter(file);
    const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index}`);
    for (const line of lines) writer.write(`${line}\n`);
    await until(() => readFileSync(file, 'utf8').endsWith('line 4999\n'));
    writer.write('last\n');
    writer.write('the very last\n');
    await until(() => readFileSync(file, 'utf8').endsWith('last\n'));
    writer.end();
    // The last may be with the system already, which writes it in its own time.
    await until(() => readFileSync(file, 'utf8').endsWith('the very last\n'));
    expect(readFileSync(file, 'utf8')).toBe(`${[...lines, 'last', 'the very last'].join('\n')}\n`);
  });

  test('that cannot be written loses lines, keeps no more than its bound, and says how many once it can', async () => {
    const file = path.join(dir, 'a.log');
    writeFileSync(file, '');
    const refusing = openSync(file, 'r');
    const writer = new LineWriter(refusing);
    writer.write('one\ntwo\n');
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (let count = 0; count < 30; count += 1) writer.write(`${'x'.repeat(100_000)}\n`);
    await new Promise((resolve) => setTimeout(resolve, 500));
    // The number of a descriptor that was closed is the next one's.
    closeSync(refusing);
    expect(openSync(file, 'a')).toBe(refusing);
    writer.write('three\n');
    await until(() => readFileSync(file, 'utf8').includes('were lost'));
    const [first, second] = readFileSync(file, 'utf8').split('\n');
    expect(first).toBe('three');
    expect(JSON.parse(second ?? '')).toMatchObject({ level: 40, msg: 'lines of this log were lost: 32' });
    closeSync(refusing);
  });
});
