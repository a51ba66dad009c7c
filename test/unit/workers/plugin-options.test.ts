/** Options of providers wherever they stand in a call of the AI SDK: what nobody reads makes none cheaper, and none brings what is not known. */
import { formatUsd } from '../../../core/money';
import { modelActivities, plainModel, type ModelTerms } from '../../../workers/plugin/model-calls';
import { priceOfTest } from '../../support/proxy-prices';

const multipliers = { inferenceGeo: { us: '1.1' }, serviceTier: { priority: '2' }, speed: { fast: '6' } };
const prices = [
  priceOfTest('anthropic', 'claude-test', multipliers),
  priceOfTest('openai', 'gpt-test', { serviceTier: { priority: '2' } }),
];
const terms: ModelTerms = {
  ...{ maxOutputTokens: 8_192, fileTokensMax: undefined, modelOf: plainModel, isRegional: false, otherOptions: {} },
};
const said = [{ role: 'user', content: [{ type: 'text', text: 'Hello.' }] }];
const plan = (options: object, { modelId = 'claude-test', ...more }: { modelId?: string } & Partial<ModelTerms> = {}) =>
  modelActivities.invokeModel?.([{ modelId, options: { prompt: said, ...options } }], prices, { ...terms, ...more });
const usdOf = (...asked: Parameters<typeof plan>): number => Number(formatUsd(plan(...asked)?.amountUsd ?? 0n));
const openAi = { modelId: 'gpt-test' };

describe('an option under a name that its provider does not read', () => {
  const thinking = (budgetTokens: number) => ({ type: 'enabled', budgetTokens });
  const edits = (type: string) => ({ edits: [{ type }] });

  test.each<[string, string, unknown, unknown]>([
    ['serviceTier', 'gpt-test', 'priority', 'default'],
    ['maxCompletionTokens', 'gpt-test', 100_000, 10],
    ['reasoningMode', 'gpt-test', 'pro', 'standard'],
    ['store', 'gpt-test', true, false],
    ['serviceTier', 'claude-test', 'auto', 'standard_only'],
    ['speed', 'claude-test', 'fast', 'standard'],
    ['inferenceGeo', 'claude-test', 'us', 'global'],
    ['thinking', 'claude-test', thinking(60_000), thinking(1_024)],
    ['contextManagement', 'claude-test', edits('compact_20260112'), edits('clear_tool_uses_20250919')],
  ])('does not say otherwise than the one that it reads: %s of %s', (name, modelId, read, other) => {
    const own = modelId === 'gpt-test' ? 'openai' : 'anthropic';
    for (const providerOptions of [
      { [own]: { [name]: read }, x: { [name]: other } },
      { x: { [name]: other }, [own]: { [name]: read } },
    ])
      expect(() => plan({ providerOptions }, { modelId })).toThrow(`"${name}"`);
  });

  test.each([
    ['serviceTier', 'standard_only'],
    ['inferenceGeo', 'global'],
    ['thinking', { type: 'disabled' }],
  ])('makes no call cheaper by itself: %s', (name, value) => {
    expect(() => plan({ providerOptions: { x: { [name]: value } } })).toThrow(`"${name}"`);
    const both = { anthropic: { [name]: value }, x: { [name]: value } };
    expect(usdOf({ providerOptions: both })).toBeGreaterThan(0);
  });

  test('is one of two that are its provider’s, of which it reads the first that is there', () => {
    const ofBoth = (azure: object, openai: object) => () => plan({ providerOptions: { azure, openai } }, openAi);
    expect(ofBoth({ serviceTier: 'default' }, { user: 'u' })).toThrow('"serviceTier"');
    expect(ofBoth({ user: 'u' }, { serviceTier: 'default' })).toThrow('"serviceTier"');
    expect(ofBoth({ serviceTier: null }, { serviceTier: 'default' })).toThrow('"serviceTier"');
    expect(ofBoth({ serviceTier: 'default' }, { serviceTier: 'default' })).not.toThrow();
    expect(ofBoth({ user: 'u' }, { user: 'u' })).not.toThrow();
  });
});

describe('an option of a message, a part or a tool', () => {
  const web = { type: 'provider', id: 'anthropic.web_search_20250305', name: 'web', args: {} };
  const own = { type: 'function', name: 'own', inputSchema: { type: 'object' } };
  const changed = (...toolChanges: object[]) => ({
    prompt: [...said, { role: 'system', content: '', providerOptions: { anthropic: { toolChanges } } }],
  });
  const result = (more: object, output: object = { type: 'text', value: 'Yes.' }) => ({
    prompt: [
      ...said,
      { role: 'tool', content: [{ type: 'tool-result', toolCallId: '1', toolName: 'own', output, ...more }] },
    ],
  });

  test('brings no tool that runs at the provider', () => {
    const byValue = { type: 'tool_addition', tool: web };
    expect(() => plan(changed(byValue))).toThrow('"anthropic.web_search_20250305" runs at the provider');
    const added = { providerOptions: { openai: { additionalTools: [{ type: 'web_search' }] } } };
    expect(() => plan(result(added), openAi)).toThrow('"web_search" runs at the provider');
    const nested = { ...own, providerOptions: { anthropic: { containerUpload: true } } };
    expect(() => plan(changed({ type: 'tool_addition', tool: nested }))).toThrow('"containerUpload"');
  });

  test('may bring tools of the agent’s own, which are counted, and name those that the call has', () => {
    const plain = usdOf(changed({ type: 'tool_addition', toolName: 'own' }, { type: 'tool_removal', toolName: 'own' }));
    const description = 'x'.repeat(10_000);
    // $1 a million.
    expect(usdOf(changed({ type: 'tool_addition', tool: { ...own, description } })) - plain).toBeGreaterThan(0.0098);
    const added = { providerOptions: { openai: { additionalTools: [{ ...own, description }] } } };
    expect(usdOf(result(added), openAi) - usdOf(result({}), openAi)).toBeGreaterThan(0.0098);
  });

  const unknown = { providerOptions: { anthropic: { ofTomorrow: 1 } } };
  const file = { type: 'file', mediaType: 'text/plain', data: { type: 'text', text: 'a' } };
  test.each<[string, object]>([
    ['a message', { prompt: [{ ...said[0], ...unknown }] }],
    ['a part', { prompt: [{ role: 'user', content: [{ type: 'text', text: 'a', ...unknown }] }] }],
    [
      'what a provider said of a part',
      {
        prompt: [
          {
            role: 'assistant',
            content: [{ type: 'text', text: 'a', providerMetadata: { openai: { ofTomorrow: 1 } } }],
          },
        ],
      },
    ],
    ['a file', { prompt: [{ role: 'user', content: [{ ...file, ...unknown }] }] }],
    ['a tool', { tools: [{ ...own, ...unknown }] }],
    ['what a tool answered', result(unknown)],
    ['its output', result({}, { type: 'text', value: 'Yes.', ...unknown })],
    ['a part of its output', result({}, { type: 'content', value: [{ type: 'text', text: 'a', ...unknown }] })],
  ])('is refused by its name where it is not known, unless whoever runs it vouches for it: %s', (_where, options) => {
    const more = { fileTokensMax: 100 };
    expect(() => plan(options, more)).toThrow('"ofTomorrow"');
    expect(() => plan(options, { ...more, otherOptions: { openai: ['ofTomorrow'] } })).toThrow('"ofTomorrow"');
    expect(plan(options, { ...more, otherOptions: { anthropic: ['ofTomorrow'] } })).toHaveProperty('amountUsd');
  });

  test('is known where the AI SDK writes it', () => {
    const call = { type: 'tool-call', toolCallId: '1', toolName: 'own', input: {} };
    const prompt = [
      { role: 'system', content: 'S', providerOptions: { anthropic: { cacheControl: { type: 'ephemeral' } } } },
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', text: 'r', providerOptions: { anthropic: { signature: 's' } } },
          {
            type: 'reasoning',
            text: '',
            providerOptions: { openai: { itemId: 'r', reasoningEncryptedContent: null } },
          },
          { type: 'text', text: 't', providerOptions: { openai: { itemId: 't', phase: 'final_answer' } } },
          {
            ...call,
            providerOptions: { google: { thoughtSignature: 's' }, anthropic: { caller: { type: 'direct' } } },
          },
        ],
      },
    ];
    for (const modelId of ['claude-test', 'gpt-test'])
      expect(plan({ prompt }, { modelId })).toHaveProperty('amountUsd');
  });
});

describe('what stands at OpenAI', () => {
  const stored = (type: string, more: object = {}, itemId = 'i_1') => ({
    ...{ type, text: '', toolCallId: '1', toolName: 'own', input: {}, output: { type: 'text', value: '' } },
    ...{ providerOptions: { openai: { itemId } }, ...more },
  });
  const partsUsd = (
    parts: object[],
    { role = 'assistant', ...more }: { role?: string; providerOptions?: object } = {},
  ) => usdOf({ ...more, maxOutputTokens: 10, prompt: [{ role, content: parts }] }, openAi);
  const plainUsd = partsUsd([]);

  test.each<[string, object, { role?: string }]>([
    ['a thought', stored('reasoning'), {}],
    ['a text', stored('text'), {}],
    ['a call that OpenAI makes', stored('tool-call', { providerExecuted: true }), {}],
    ['a program', stored('tool-call', { toolName: 'programmatic_tool_calling' }), {}],
    ['what a tool of OpenAI’s answered', stored('tool-result', { providerOptions: {} }), {}],
    ['what is approved', { type: 'tool-approval-response', approvalId: 'a', approved: true }, { role: 'tool' }],
  ])('is sent by its name, and counts as the longest answer that there is: %s', (_what, part, more) => {
    // $1.25 a million where it may be written to a cache, of a model whose longest answer is on no list.
    expect(partsUsd([part], more) - plainUsd).toBeGreaterThan(0.16);
    expect(partsUsd([part], more) - plainUsd).toBeLessThan(0.161);
  });

  test('counts once where it is sent once', () => {
    const twice = (type: string, id = 'i_1') => partsUsd([stored(type), stored(type, {}, id)]) - plainUsd;
    for (const type of ['reasoning', 'text']) {
      expect(twice(type)).toBeLessThan(0.162);
      expect(twice(type, 'i_2')).toBeGreaterThan(0.32);
    }
    expect(partsUsd([stored('reasoning'), stored('text')]) - plainUsd).toBeGreaterThan(0.32);
    const other = (itemId: string) => stored('text', { providerOptions: { x: { itemId: 'i' }, openai: { itemId } } });
    expect(partsUsd([other('i_1'), other('i_2')]) - plainUsd).toBeGreaterThan(0.32);
  });

  test('is not there where nothing is stored, and a call or a text of the agent’s own is sent as it is', () => {
    const unstored = { providerOptions: { openai: { store: false } } };
    for (const part of [stored('text'), stored('tool-call', { providerExecuted: true })])
      expect(partsUsd([part], unstored) - plainUsd).toBeLessThan(0.001);
    expect(partsUsd([stored('tool-call')]) - plainUsd).toBeLessThan(0.001);
    expect(partsUsd([stored('text')], { role: 'user' }) - plainUsd).toBeLessThan(0.001);
    expect(partsUsd([stored('tool-result')], { role: 'tool' }) - plainUsd).toBeLessThan(0.001);
  });
});

test('a header that is not known is refused, unless whoever runs it vouches for it', () => {
  const of =
    (name: string, more: Partial<ModelTerms> = {}) =>
    () =>
      plan({ headers: { [name]: 'v' } }, more);
  for (const name of ['OpenAI-Project', 'x-api-key', 'Authorization']) expect(of(name)).toThrow(`"${name}"`);
  expect(of('User-Agent')).not.toThrow();
  expect(of('Helicone-Property-App', { otherHeaders: ['helicone-property-app'] })).not.toThrow();
  expect(() => plan({ headers: { 'x-none': undefined } })).not.toThrow();
});

test('a limit of an answer is a whole number above 0', () => {
  for (const maxOutputTokens of [0, -1, 1.5, '10'])
    expect(() => plan({ maxOutputTokens })).toThrow('a whole number above 0 is needed');
  expect(plan({ maxOutputTokens: 1 })).toHaveProperty('amountUsd');
});
