import Anthropic from '@anthropic-ai/sdk';
import { Sandbox } from '@e2b/code-interpreter';
import {
  DEMO_TASK,
  startAnthropicStandIn,
  startE2bStandIn,
  type AnthropicStandIn,
  type E2bStandIn,
} from '../../../scripts/stand-ins';
import { ordersCsv } from '../../support/stack';

describe('the Anthropic stand-in, through the real SDK', () => {
  let standIn: AnthropicStandIn;
  let client: Anthropic;
  beforeEach(async () => {
    standIn = await startAnthropicStandIn();
    client = new Anthropic({ apiKey: 'stand-in', baseURL: standIn.url, maxRetries: 0, logLevel: 'off' });
  });
  afterEach(() => standIn.stop());
  const ask = (content: string, maxTokens = 4000): Promise<Anthropic.Message> =>
    client.messages
      .stream({ model: 'claude-haiku-4-5', max_tokens: maxTokens, messages: [{ role: 'user', content }] })
      .finalMessage();

  test('counts tokens for free and the same way as it bills them', async () => {
    const messages = [{ role: 'user' as const, content: 'Say something.' }];
    const counted = await client.messages.countTokens({ model: 'claude-haiku-4-5', messages });
    const { usage } = await client.messages.create({ model: 'claude-haiku-4-5', max_tokens: 100, messages });
    expect(usage.input_tokens).toBe(counted.input_tokens);
    expect(standIn.calls()).toMatchObject({ countTokens: 1, billable: 1 });
  });

  test('writes a program for an attached file, and says that it is a stand-in', async () => {
    const message = await ask('Profile it.\n\nAttached file: /home/user/a.csv');
    expect(message.stop_reason).toBe('tool_use');
    expect(message.content.at(-1)).toMatchObject({ type: 'tool_use', name: 'run_code' });
    expect(JSON.stringify((await ask('Hello')).content)).toContain('stand-in for a model');
  });

  test('cuts an answer that is longer than max_tokens', async () => {
    standIn.knobs.replies = [{ text: 'x'.repeat(4000) }];
    const message = await ask('Hello', 10);
    expect(message).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 10 } });
  });

  test.each([
    [{ type: 'status' as const, status: 429, retryAfterSeconds: 7 }, Anthropic.RateLimitError],
    [{ type: 'status' as const, status: 401 }, Anthropic.AuthenticationError],
    [{ type: 'refuse' as const }, Anthropic.APIConnectionError],
    [{ type: 'cut-before-usage' as const }, Anthropic.AnthropicError],
    [{ type: 'nonsense' as const }, Error],
  ])('can be made to fail by %j', async (fault, errorClass) => {
    standIn.knobs.failNext = [fault];
    await expect(ask('Hello')).rejects.toBeInstanceOf(errorClass);
  });

  test('does not know a model that is none, or a caller without a key', async () => {
    await expect(
      client.messages.create({ model: 'gpt-4o', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }),
    ).rejects.toMatchObject({
      status: 404,
      type: 'not_found_error',
    });
    expect((await fetch(`${standIn.url}/v1/messages`, { method: 'POST', body: '{}' })).status).toBe(401);
  });
});

describe('the E2B stand-in, through the real SDK', () => {
  let standIn: E2bStandIn;
  beforeAll(async () => {
    standIn = await startE2bStandIn({ allowedCode: 'any' });
  });
  afterAll(() => standIn.stop());
  const options = () => ({ apiKey: 'stand-in', apiUrl: standIn.url, sandboxUrl: standIn.url });
  const run = async (code: string, file?: string) => {
    const sandbox = await Sandbox.create({ ...options(), timeoutMs: 60_000 });
    if (file !== undefined) await sandbox.files.write('/home/user/orders.csv', file);
    const execution = await sandbox.runCode(code, { language: 'javascript' });
    await sandbox.kill();
    return { output: execution.logs.stdout.join(''), errors: execution.logs.stderr.join(''), error: execution.error };
  };

  test('really runs a program, with its files where the real one has them', async () => {
    const code =
      "const fs = require('fs'); fs.writeFileSync('/home/user/b', '1'); console.log(fs.readdirSync('/home/user').join(), 6 * 7)";
    expect(await run(code, 'a')).toMatchObject({ output: 'b,orders.csv 42\n', error: undefined });
  });

  test('tells a program’s error by name, message and place', async () => {
    const { error } = await run("console.log('before'); null.x");
    expect(error).toMatchObject({ name: 'TypeError', value: expect.stringContaining('null') as string });
    expect(error?.traceback).toContain('program-1.cjs');
  });

  test.each([
    ['files of the machine', "require('fs').readFileSync('/etc/passwd')"],
    ['paths that lead out of its home', "require('fs').writeFileSync('/home/user/../run/x', '1')"],
    ['other programs', "require('child_process').execSync('id')"],
    ['threads', "new (require('worker_threads').Worker)('1', { eval: true })"],
    ['connections', "require('net').connect(80, '127.0.0.1')"],
  ])('keeps a program from %s', async (_what, code) => {
    const { error, output } = await run(`${code}; console.log('reached')`);
    expect(output).not.toContain('reached');
    expect(error).toBeDefined();
  });

  test('keeps a program from the network by fetch, and hands it no environment', async () => {
    const { output } = await run(
      "fetch('http://127.0.0.1:1').then(() => console.log('reached'), () => console.log('no network')); console.log(Object.keys(process.env).sort().join())",
    );
    expect(output).toContain('no network');
    expect(output).not.toMatch(/KEY|TOKEN|HOME/);
  });

  test('ends a sandbox at the end of its lifetime, and finds it by its metadata before', async () => {
    const sandbox = await Sandbox.create({ ...options(), timeoutMs: 1_000, metadata: { operation: 'a/b c' } });
    const pages = Sandbox.list({ ...options(), query: { metadata: { operation: 'a/b c' } } });
    expect((await pages.nextItems()).map(({ sandboxId }) => sandboxId)).toEqual([sandbox.sandboxId]);
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    await expect(sandbox.runCode('1', { language: 'javascript' })).rejects.toThrow();
    expect(await sandbox.kill()).toBe(false);
  });

  test('runs no code but its own stand-in’s unless it is allowed', async () => {
    const careful = await startE2bStandIn({ allowedCode: new Set() });
    const sandbox = await Sandbox.create({ apiKey: 'stand-in', apiUrl: careful.url, sandboxUrl: careful.url });
    const { error } = await sandbox.runCode('1', { language: 'javascript' });
    expect(error).toMatchObject({
      name: 'CodeRefused',
      value: expect.stringContaining('--allow-local-code') as string,
    });
    await careful.stop();
  });

  test('a changed cell of the example file changes the answer to the example question', async () => {
    const model = await startAnthropicStandIn();
    const client = new Anthropic({ apiKey: 'stand-in', baseURL: model.url, maxRetries: 0 });
    const task = { role: 'user' as const, content: `${DEMO_TASK}\n\nAttached file: /home/user/orders.csv` };
    const reply = await client.messages.create({ model: 'claude-haiku-4-5', max_tokens: 4000, messages: [task] });
    const [use] = reply.content.flatMap((block) => (block.type === 'tool_use' ? [block] : []));
    const { code } = use?.input as { code: string };
    const original = ordersCsv();
    const refunded = original.replace(/(,West,.*),paid$/m, '$1,refunded');
    const [before, after] = [await run(code, original), await run(code, refunded)];
    expect(JSON.parse(before.output)).toMatchObject({ region: 'West', netUsd: '273363.61' });
    expect(JSON.parse(after.output)).not.toEqual(JSON.parse(before.output));
    await model.stop();
  });
});
