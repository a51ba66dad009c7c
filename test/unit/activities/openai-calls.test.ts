/** Calls of tools as OpenAI's answers have them: what was cut off, or can be read by nobody, calls no tool of a tenant's. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ModelRequest } from '../../../activities/llm/model-provider';
import { openAiProvider } from '../../../activities/llm/openai';
import { isUnreadableInput } from '../../../core/agent/own-tools';

const cutOff = '{"to":"ada","text":"hel';
const callOf = (status: string, args: string): object => ({
  ...{ type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'mail', arguments: args, status },
});
const said = { type: 'message', content: [{ type: 'output_text', text: 'I write.' }] };

describe("a call in an answer of OpenAI's", () => {
  let server: Server;
  let response: object;
  let baseURL: string;
  beforeAll(async () => {
    server = createServer((_, answer) => {
      answer.writeHead(200, { 'content-type': 'text/event-stream' });
      const { status } = response as { status: string };
      for (const type of ['response.created', `response.${status}`])
        answer.write(`event: ${type}\ndata: ${JSON.stringify({ type, response })}\n\n`);
      answer.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  const contentOf = async (status: string, output: object[], incomplete: object | null = null): Promise<unknown[]> => {
    const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
    response = { id: 'r', status, output, usage, incomplete_details: incomplete };
    const request = {
      ...{ model: 'gpt-4o', maxOutputTokens: 10, cacheWriteTtl: '5m' },
      prompt: { system: '', messages: [{ role: 'user', content: [{ type: 'text', text: 'Write.' }] }], tools: [] },
    } as unknown as ModelRequest;
    const options = { signal: new AbortController().signal, idleMs: 5_000 };
    const { content, error } = await openAiProvider({ apiKey: 'none', baseURL }).stream(request, options);
    expect(error).toBeUndefined();
    return content ?? [];
  };
  const cut = { reason: 'max_output_tokens' };

  test('that was cut off by its end is none, also where its arguments look whole', async () => {
    expect(await contentOf('incomplete', [said, callOf('incomplete', cutOff)], cut)).toEqual([
      { type: 'text', text: 'I write.' },
    ]);
    expect(await contentOf('incomplete', [callOf('completed', '{}')], cut)).toEqual([]);
  });

  test('before one that was cut off stands', async () => {
    const content = await contentOf('incomplete', [callOf('completed', '{"to":"ada"}'), said], cut);
    expect(content).toMatchObject([{ type: 'tool_use', name: 'mail', input: { to: 'ada' } }, { type: 'text' }]);
  });

  test('whose arguments are no JSON can be read by nobody', async () => {
    const [call] = (await contentOf('completed', [callOf('completed', cutOff)])) as { input: unknown }[];
    expect(isUnreadableInput(call?.input)).toBe(true);
    expect(isUnreadableInput({ unreadable: 1 })).toBe(false);
  });
});
