import Anthropic from '@anthropic-ai/sdk';
import { Sandbox } from '@e2b/code-interpreter';
import {
  DEMO_TASK,
  startAnthropicStandIn,
  startE2bStandIn,
  startGoogleStandIn,
  startOpenAiStandIn,
  type AnthropicStandIn,
  type E2bStandIn,
} from '../../../scripts/stand-ins';
import { SandboxFolder } from '../../../scripts/stand-ins/sandbox-process';
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

  test('XE16: keeps a file under the name that it has', async () => {
    const name = "/home/user/Ümsätze & mehr, „2026“ #1 (50%) +? – o'Neil.csv";
    const sandbox = await Sandbox.create({ ...options(), timeoutMs: 60_000 });
    await sandbox.files.write(name, 'a');
    expect(await sandbox.files.read(name)).toBe('a');
    const code = "console.log(JSON.stringify(require('fs').readdirSync('/home/user')))";
    const { logs } = await sandbox.runCode(code, { language: 'javascript' });
    expect(JSON.parse(logs.stdout.join(''))).toEqual([name.slice('/home/user/'.length)]);
    await sandbox.kill();
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
    ['XC3: connections by a constructor', "new (require('net').Socket)().connect(80, '127.0.0.1')"],
    ['XC3: datagrams', "require('dgram').createSocket('udp4').send('x', 53, '127.0.0.1')"],
    ['XC3: datagrams by the class', "new (require('node:dgram').Socket)('udp4').bind(0)"],
    ['XC3: sockets of its own', "require('net')._createServerHandle('127.0.0.1', 0, 4)"],
    ['XC3: the classes of its output', 'new process.stdout._handle.constructor(0)'],
    ['XC3: names of machines', "require('dns').promises.lookup('localhost')"],
    ['XC3: names, by their own module', "require('dns/promises').resolve('localhost')"],
    ['XC3: a resolver', "new (require('dns').Resolver)().resolve('localhost', () => undefined)"],
    ['XC3: servers', "require('http').createServer().listen(0)"],
    ['XC3: TLS', "require('tls').connect(443, '127.0.0.1')"],
    ['XC3: HTTP/2', "require('http2').connect('http://127.0.0.1')"],
    ['XC3: signals to who started it', 'process.kill(process.ppid, 0)'],
    ['XC3: signals by the inner function', 'process._kill(process.ppid, 0)'],
    ['XC3: a debugger for another process', 'process._debugProcess(process.ppid)'],
    ['XC3: the priority of others', "require('os').setPriority(process.ppid, 19)"],
    ['XC3: inner parts of Node', "process.binding('tcp_wrap')"],
    ['XC3: linked parts of Node', "process._linkedBinding('tcp_wrap')"],
    ['XC3: addons', "process.dlopen({ exports: {} }, '/lib/x86_64-linux-gnu/libc.so.6')"],
    ['XC3: the inspector', "require('inspector').open(0)"],
    ['XC3: an inspector of itself', "new (require('node:inspector').Session)().connect()"],
    ['XC3: flags of the engine', "require('v8').setFlagsFromString('--allow-natives-syntax')"],
    ['XC3: dumps', "require('v8').writeHeapSnapshot('/tmp/spendlock-x')"],
    ['XC3: reports', "process.report.writeReport('/tmp/spendlock-x')"],
    ['XC3: other programs by a cluster', "require('cluster').fork()"],
    ['XC3: another context', "require('vm').runInNewContext('1')"],
    ['XC3: WASI', "new (require('wasi').WASI)({ version: 'preview1' })"],
    ['XC3: loaders', "require('module').register('data:text/javascript,')"],
    ['XC3: hooks that see the inside', "require('async_hooks').createHook({ init() {} }).enable()"],
    ['XC3: links to files', "require('fs').symlinkSync('/etc/passwd', '/home/user/link')"],
    ['XC3: hard links', "require('fs').linkSync('/etc/passwd', '/home/user/hard')"],
    ['XC3: files by a buffer', "require('fs').readFileSync(Buffer.from('/etc/passwd'))"],
    ['XC3: files by a URL', "require('fs').readFileSync(new URL('file:///etc/passwd'))"],
    ['XC3: a descriptor of a file outside', "require('fs').openSync('/proc/self/environ')"],
    ['XC3: built-ins by their function', "process.getBuiltinModule('net').connect(80, '127.0.0.1')"],
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

  test.each(['net', 'node:net', 'node:dgram', 'node:dns/promises', 'node:child_process', 'node:http'])(
    'XC3: keeps a program from %s by import too',
    async (name) => {
      const { output } = await run(`
        import(${JSON.stringify(name)}).then((found) => {
          for (const [key, value] of [...Object.entries(found), ...Object.entries(found.default)]) {
            if (typeof value !== 'function') continue;
            try { value(); console.log('reached', key); } catch (error) {
              if (!error.message.startsWith('This sandbox stand-in has no')) console.log('reached', key, error.message);
            }
          }
          console.log('looked');
        });`);
      expect(output).toBe('looked\n');
    },
  );

  test.each([
    ['throws an error of 200,000 characters', "throw new Error('x'.repeat(200_000))", 'Error'],
    [
      'throws one whose name and stack are as long',
      "const e = new Error('x'.repeat(200_000)); e.name = 'n'.repeat(200_000); e.stack = '\\u0000'.repeat(200_000); throw e",
      'nnnn',
    ],
    ['throws nothing', 'throw null', 'Error'],
    ['throws what cannot be read', "throw { get name() { throw new Error('no'); } }", 'Error'],
    ['throws what has no text', 'throw Object.create(null)', 'Error'],
    [
      'writes what looks like an error',
      "process.stderr.write('\\u0000{not json\\u0000\\n'); process.exit(1)",
      'ProgramFailed',
    ],
    [
      'writes nonsense where its error is told',
      "require('fs').writeSync(3, '{\\u0000'); process.exit(1)",
      'ProgramFailed',
    ],
    [
      'writes without end where its error is told',
      "for (;;) require('fs').writeSync(3, 'x'.repeat(60_000))",
      'ProgramEnded',
    ],
    ['prints without end', "for (;;) console.log('x'.repeat(10_000))", 'ProgramEnded'],
    ['takes all memory', 'const all = []; for (;;) all.push(new Array(1e6).fill({}))', 'ProgramEnded'],
    [
      'removes the handler of its errors',
      "process.removeAllListeners('uncaughtException'); throw new Error('x')",
      'ProgramFailed',
    ],
    ['ends itself', 'process.reallyExit(77)', 'ProgramFailed'],
  ])('XC3: a program that %s ends nothing but itself', async (_what, code, name) => {
    const { error } = await run(code);
    expect(error?.name.slice(0, 20)).toContain(name);
    expect((error?.value ?? '').length).toBeLessThanOrEqual(20_000);
    expect(await run("console.log('the next one runs')")).toMatchObject({ output: 'the next one runs\n' });
  });

  test('tells characters whole that lie across two pieces of its output', async () => {
    const folder = new SandboxFolder();
    const told = { stdout: '', stderr: '' };
    const code = "for (const out of [process.stdout, process.stderr]) out.write('ä€😀'.repeat(30_000))";
    await folder.execute(code, (event) => {
      if (event.type === 'stdout' || event.type === 'stderr') told[event.type] += event.text;
    });
    folder.remove();
    const whole = 'ä€😀'.repeat(30_000);
    expect([told.stdout === whole, told.stderr === whole]).toEqual([true, true]);
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

describe('XC3: a stand-in of a start', () => {
  test('answers nobody without the key of that start, and has no knobs', async () => {
    const key = 'of-this-start';
    const emittedCode = new Set<string>();
    const models = [
      await startAnthropicStandIn({ key, emittedCode }),
      await startOpenAiStandIn({ key, emittedCode }),
      await startGoogleStandIn({ key, emittedCode }),
    ];
    const e2b = await startE2bStandIn({ key, allowedCode: emittedCode });
    const headersOf = (given: string) => ({
      'x-api-key': given,
      'x-goog-api-key': given,
      authorization: `Bearer ${given}`,
    });
    const replies = [{ text: '', code: "console.log('mine')" }];
    for (const { url, knobs } of [...models, e2b]) {
      const before = JSON.stringify(knobs);
      for (const headers of [{}, headersOf('stand-in'), headersOf(key)]) {
        const answer = await fetch(`${url}/__stand-in/knobs`, {
          method: 'PUT',
          headers,
          body: JSON.stringify({ replies }),
        });
        expect(answer.status).toBe(
          headersOf(key)['x-api-key'] === (headers as { 'x-api-key'?: string })['x-api-key'] ? 404 : 401,
        );
        expect((await fetch(`${url}/__stand-in/calls`, { headers })).status).toBeGreaterThanOrEqual(401);
      }
      expect(JSON.stringify(knobs)).toBe(before);
    }
    const body = JSON.stringify({
      model: 'claude-haiku-4-5',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'x' }],
    });
    const ask = async (given: string) =>
      (await fetch(`${models[0]?.url}/v1/messages`, { method: 'POST', headers: headersOf(given), body })).status;
    expect([await ask('stand-in'), await ask(key)]).toEqual([401, 200]);

    const sandbox = await Sandbox.create({ apiKey: key, apiUrl: e2b.url, sandboxUrl: e2b.url });
    await sandbox.files.write('/home/user/secret', 'of a run');
    const inside = { 'e2b-sandbox-id': sandbox.sandboxId, 'x-access-token': 'stand-in' };
    expect((await fetch(`${e2b.url}/files?path=/home/user/secret`, { headers: inside })).status).toBe(401);
    const program = { method: 'POST', headers: inside, body: JSON.stringify({ code: '1', language: 'javascript' }) };
    expect((await fetch(`${e2b.url}/execute`, program)).status).toBe(401);
    expect(await sandbox.files.read('/home/user/secret')).toBe('of a run');
    await Promise.all([...models, e2b].map((standIn) => standIn.stop()));
  });
});
