/** What the README shows is what happens: its client example runs, and its transcript is compared with a new one. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { build } from '../../scripts/build';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

const root = path.join(__dirname, '..', '..');
const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
const run = promisify(execFile);

describe('the README', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('its client example runs, on the package as it is built', async () => {
    const example = /```ts\n(import [\s\S]*?'spendlock\/client';[\s\S]*?)```/.exec(readme)?.[1] ?? '';
    expect(example).toContain('conversations.stream');
    const dir = mkdtempSync(path.join(tmpdir(), 'spendlock-readme-'));
    const installed = path.join(dir, 'node_modules', 'spendlock');
    mkdirSync(installed, { recursive: true });
    build(path.join(installed, 'dist'));
    cpSync(path.join(root, 'package.json'), path.join(installed, 'package.json'));
    writeFileSync(path.join(dir, 'example.mts'), example);
    const tsx = path.join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs');
    const key = await api.keyOf(await stack.tenant('5'));
    const { stdout, stderr } = await run(process.execPath, ['--import', tsx, 'example.mts'], {
      cwd: dir,
      env: { PATH: process.env.PATH, SPENDLOCK_API_URL: api.url, SPENDLOCK_API_KEY: key },
    });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/stand-in for a model's API[\s\S]*\n\(cost: \$0\.\d+\)/);
    expect(stdout).toContain('The task is done.\nThe file has 2 rows and 2 columns.');
    expect(stdout).toMatch(/It was \d+ characters long\.\n$/);
  });

  /** Without what differs from one time to the next: ids, times, and in how many pieces a reply came. */
  function timeless(text: string): string {
    const pieces = /event: delta\ndata: (\{.*\})\n\n(?=event: delta\ndata: (\{.*\})\n)/;
    let joined = text;
    for (let found = pieces.exec(joined); found; found = pieces.exec(joined)) {
      const [first, second] = [found[1], found[2]].map((data) => JSON.parse(data ?? '') as { text: string });
      const whole = JSON.stringify({ ...first, text: `${first?.text}${second?.text}` });
      joined = joined.replace(`${found[0]}event: delta\ndata: ${found[2]}`, () => `event: delta\ndata: ${whole}`);
    }
    return joined
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
      .trim();
  }

  test('its transcript of a streamed conversation is what curl is told', async () => {
    const shown = /```console\n\$ curl -sN [\s\S]*?\}'\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const file = { name: 'data.csv', contentBase64: Buffer.from('name,amount\na,1\nb,2\n').toString('base64') };
    const talk = await TestConversation.start(api, await stack.tenant('5'), { file });
    const told = await run('curl', [
      '-sN',
      `${api.url}/v1/conversations/${talk.id}/messages`,
      ...['-H', `Authorization: Bearer ${talk.key}`, '-H', 'Content-Type: application/json'],
      ...['-H', 'Accept: text/event-stream', '-d', '{"message": "Profile this file."}'],
    ])
      .then(({ stdout }) => stdout)
      // A machine without curl sends the same request.
      .catch(async () => (await talk.stream('Profile this file.')).text());
    await talk.close();
    if (process.env.SPENDLOCK_SHOW_TRANSCRIPT) console.log(told);
    expect(timeless(told)).toBe(timeless(shown));
  });
});
