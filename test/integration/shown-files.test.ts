/** Images and PDFs that come with a run: shown to its model, counted before they are paid for, refused where it does not take them. */
import { parseUsd } from '../../core/money';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { endedRun } from '../support/http-runs';
import { withInstallation } from '../support/installation';
import { historyOf } from '../support/kept-words';
import type { TestStack } from '../support/stack';

type Provider = 'anthropic' | 'openai' | 'google';

describe('a file that is an image or a PDF', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const image = Buffer.alloc(20_000, 7);
  image.write('\x89PNG\r\n\x1a\n', 0, 'latin1');
  image.write('IHDR', 12, 'latin1');
  image.writeUInt32BE(640, 16);
  image.writeUInt32BE(480, 20);
  const png = { name: 'chart.png', contentBase64: image.toString('base64') };
  const pdf = {
    name: 'report.pdf',
    contentBase64: Buffer.from(`%PDF-1.7\n${'text '.repeat(3_000)}`).toString('base64'),
  };

  const task = 'What does it show?';
  const refused = async (body: object): Promise<unknown> => {
    const key = await api.keyOf(await stack.tenant('50'));
    const { status, body: answer } = await api.call('POST', '/v1/runs', { key, body: { task, ...body } });
    return [status, answer.message];
  };
  const begin = async (body: object) => {
    const { run, runId, key, workflowId } = await endedRun({ stack, api }, { task, ...body });
    const { body: costs } = await api.call('GET', `/v1/cost-records?runId=${runId}&resource=llm`, { key });
    const records = costs.records as {
      amountUsd: string;
      estimatedUsd: string;
      usage: { inputTokens: number; cacheWrite5mTokens: number };
    }[];
    for (const { amountUsd, estimatedUsd } of records)
      expect(parseUsd(amountUsd)).toBeLessThanOrEqual(parseUsd(estimatedUsd));
    return { run, records, key, runId, history: await historyOf(stack, workflowId) };
  };

  const cases: [file: string, model: string, provider: Provider, sent: (data: string) => object][] = [
    [
      'png',
      'claude-haiku-4-5',
      'anthropic',
      (data) => ({ type: 'image', source: { type: 'base64', media_type: 'image/png', data } }),
    ],
    [
      'pdf',
      'claude-sonnet-5',
      'anthropic',
      (data) => ({
        type: 'document',
        title: 'report.pdf',
        source: { type: 'base64', media_type: 'application/pdf', data },
      }),
    ],
    [
      'png',
      'gpt-5.1',
      'openai',
      (data) => ({ type: 'input_image', image_url: `data:image/png;base64,${data}`, detail: 'auto' }),
    ],
    [
      'pdf',
      'gpt-4o',
      'openai',
      (data) => ({ type: 'input_file', filename: 'report.pdf', file_data: `data:application/pdf;base64,${data}` }),
    ],
    ['png', 'gemini-2.5-flash', 'google', (data) => ({ inlineData: { mimeType: 'image/png', data } })],
    ['pdf', 'gemini-3.5-flash', 'google', (data) => ({ inlineData: { mimeType: 'application/pdf', data } })],
  ];
  test.each(cases)(
    'such as a %s is shown to %s of %s with each call, and counted once',
    async (kind, model, provider, sent) => {
      const file = kind === 'png' ? png : pdf;
      const counts = stack[provider].calls().countTokens;
      stack[provider].knobs.replies = [{ text: 'I look.', code: 'console.log(1)' }, { text: 'A line that rises.' }];
      const { run, records, history, key, runId } = await begin({ model, file });
      expect(run).toMatchObject({ status: 'completed', answer: 'A line that rises.', file: { name: file.name } });
      expect(JSON.stringify(stack[provider].lastRequest())).toContain(JSON.stringify(sent(file.contentBase64)));
      // What the first call was billed for stands for it in the second.
      expect(stack[provider].calls().countTokens).toBe(counts + 1);
      const [first] = records;
      expect((first?.usage.inputTokens ?? 0) + (first?.usage.cacheWrite5mTokens ?? 0)).toBeGreaterThan(3_000);
      expect(history).not.toContain(file.contentBase64.slice(3_000, 3_200));
      const { body: said } = await api.call('GET', `/v1/runs/${runId}/messages`, { key });
      expect(JSON.stringify(said)).not.toContain(file.contentBase64.slice(0, 200));
    },
  );

  test('stays before the eyes of a conversation, also once that was summed up', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('50'), {
      model: 'claude-haiku-4-5',
      file: png,
      compaction: { contextTokens: 12_000, atShare: 0.8 },
    });
    const requests: string[] = [];
    stack.anthropic.knobs.onBilled = (request) => void requests.push(JSON.stringify(request));
    stack.anthropic.knobs.replies = Array.from({ length: 10 }, () => ({ text: 'Well.' }));
    const long = 'word '.repeat(1_500);
    for (let turn = 1; turn <= 4; turn += 1) expect(await talk.ended(await talk.post(long))).toBe('completed');
    const summing = requests.filter((request) => request.includes('You sum up'));
    expect(summing.length).toBeGreaterThan(0);
    for (const request of requests)
      expect(request.split(png.contentBase64).length).toBe(summing.includes(request) ? 1 : 2);
    await talk.close();
  });

  test('is refused by name before anything is stored, for its model and for each that may take its place', async () => {
    expect(await refused({ model: 'gpt-3.5-turbo', file: png })).toEqual([
      400,
      'file: chart.png is of the type image/png, which gpt-3.5-turbo does not take. It takes text. Nothing was stored.',
    ]);
    expect(
      await refused({ model: 'claude-haiku-4-5', fallbackModels: ['claude-3-haiku-20240307'], file: pdf }),
    ).toEqual([400, expect.stringContaining('which claude-3-haiku-20240307 does not take.')]);
    const large = Buffer.concat([image, Buffer.alloc(3_740_000)]).toString('base64');
    expect(await refused({ model: 'claude-haiku-4-5', file: { ...png, contentBase64: large } })).toEqual([
      400,
      expect.stringContaining('takes at most 3750000'),
    ]);
  });

  test('that its provider cannot count for a while is shown to the model that may take its place', async () => {
    stack.anthropic.knobs.failCountsWith = 529;
    stack.openai.knobs.replies = [{ text: 'A line that rises.' }];
    const { run } = await begin({ model: 'claude-haiku-4-5', fallbackModels: ['gpt-5.1'], file: png });
    expect(run).toMatchObject({ status: 'completed', answer: 'A line that rises.' });
    // A prompt of words alone is held at its bound then.
    const bounded = await begin({ model: 'claude-haiku-4-5', limits: { maxCostUsd: '0.02' } });
    expect(bounded.run).toMatchObject({ status: 'completed' });
    stack.anthropic.knobs.failCountsWith = undefined;
  });

  test('that its provider does not count is paid for by nobody', async () => {
    const before = stack.anthropic.calls();
    // Counting is refused for a file that is none.
    const broken = { name: 'x.pdf', contentBase64: Buffer.from('%PDF-').toString('base64') };
    stack.anthropic.knobs.refusesFiles = true;
    const { run } = await begin({ model: 'claude-haiku-4-5', file: broken });
    expect(run).toMatchObject({ status: 'failed', failure: { code: 'provider_refused' }, costUsd: '0' });
    expect(stack.anthropic.calls().billable).toBe(before.billable);
  });
});
