/** What the README shows is what happens: its transcript is compared with a new one. Its client example runs in package.test.ts. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
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
      .replaceAll(/"code":\[.*?\],"step"/g, '"code":["…"],"step"')
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
