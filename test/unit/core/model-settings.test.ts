/** Which model takes what, what is said of what it does not take, and what one call asks for. */
import { problemOfSettings, settingsOfCall, type ModelSettings } from '../../../core/agent/model-settings';

const providerOf = (model: string): string =>
  model.startsWith('claude') ? 'anthropic' : model.startsWith('gemini') ? 'google' : 'openai';
const named = (model: string): { provider: string; model: string } => ({ provider: providerOf(model), model });
const problem = (model: string, settings: ModelSettings, maxOutputTokens = 8_192): string | undefined =>
  problemOfSettings(named(model), settings, { maxOutputTokens });

describe('settings', () => {
  const taken: [model: string, settings: ModelSettings][] = [
    ['claude-3-haiku-20240307', { temperature: 1, stopSequences: ['END'] }],
    ['claude-3-7-sonnet-20250219', { thinkingBudgetTokens: 1_024 }],
    ['claude-opus-4-20250514', { thinkingBudgetTokens: 2_000 }],
    ['claude-opus-4-1-20250805', { thinkingBudgetTokens: 0, temperature: 0.2 }],
    ['claude-haiku-4-5', { thinkingBudgetTokens: 8_191 }],
    ['claude-haiku-4-5-20251001', { thinkingBudgetTokens: 1_024 }],
    ['claude-opus-4-5-20251101', { effort: 'high', temperature: 0.5 }],
    ['claude-sonnet-4-6', { effort: 'max' }],
    ['claude-opus-4-8', { effort: 'xhigh' }],
    ['claude-sonnet-5', { effort: 'low', stopSequences: ['END'] }],
    ['claude-sonnet-5-5', { effort: 'max' }],
    ['claude-fable-9', { effort: 'xhigh' }],
    ['gpt-4o-mini', { temperature: 2 }],
    ['o3', { effort: 'medium' }],
    ['gpt-5-mini', { effort: 'minimal' }],
    ['gpt-5-pro', { effort: 'high' }],
    ['gpt-5.1', { effort: 'none', temperature: 1.5 }],
    ['gpt-5.4-nano', { effort: 'xhigh' }],
    ['gpt-6-sol', { effort: 'max' }],
    ['gemini-2.0-flash', { temperature: 0 }],
    ['gemini-2.5-pro', { thinkingBudgetTokens: 128, temperature: 1 }],
    ['gemini-2.5-flash', { thinkingBudgetTokens: 0 }],
    ['gemini-3-pro-preview', { effort: 'low' }],
    ['gemini-3.5-flash', { effort: 'minimal', temperature: 0.4 }],
    ['gemini-3.7-flash', { effort: 'medium', stopSequences: ['a', 'b', 'c', 'd', 'e'] }],
  ];
  test.each(taken)('of %s may be %j', (model, settings) => expect(problem(model, settings)).toBeUndefined());

  const refused: [model: string, settings: ModelSettings, says: RegExp][] = [
    ['claude-3-5-sonnet-20241022', { thinkingBudgetTokens: 2_000 }, /takes none. It takes temperature \(0 to 1\)/],
    ['claude-haiku-4-5', { effort: 'high' }, /takes none. It takes thinkingBudgetTokens \(0, or from 1024 on\)/],
    ['claude-haiku-4-5', { thinkingBudgetTokens: 1_000 }, /takes no 1000/],
    ['claude-haiku-4-5', { thinkingBudgetTokens: 8_192 }, /less than limits.maxOutputTokens \(8192\)/],
    ['claude-haiku-4-5', { thinkingBudgetTokens: 2_000, temperature: 0.3 }, /none while it thinks/],
    ['claude-haiku-4-5', { temperature: 1.1 }, /none above 1/],
    ['claude-opus-4-5', { effort: 'max' }, /takes no max/],
    ['claude-sonnet-4-6', { effort: 'low', temperature: 0.3 }, /none while it thinks/],
    ['claude-sonnet-4-6', { effort: 'xhigh' }, /takes no xhigh/],
    ['claude-opus-4-7', { thinkingBudgetTokens: 2_000 }, /thinkingBudgetTokens: claude-opus-4-7 takes none/],
    ['claude-sonnet-5', { temperature: 0.3 }, /takes none. It takes effort \(low, medium, high, xhigh, max\), stop/],
    ['claude-opus-5-5', { effort: 'none' }, /takes no none/],
    ['gpt-4o', { effort: 'low' }, /takes none. It takes temperature \(0 to 2\)\.$/],
    ['gpt-4o', { stopSequences: ['END'] }, /stopSequences: gpt-4o takes none/],
    ['o3', { temperature: 1 }, /takes none. It takes effort \(low, medium, high\)\.$/],
    ['gpt-5-pro', { effort: 'low' }, /takes no low/],
    ['gpt-5.1', { temperature: 1 }, /only with effort none/],
    ['gpt-5.1', { effort: 'xhigh' }, /takes no xhigh/],
    ['gpt-5.2-pro', { effort: 'low' }, /takes no low/],
    ['gpt-5', { thinkingBudgetTokens: 2_000 }, /thinkingBudgetTokens: gpt-5 takes none/],
    ['gemini-2.0-flash', { thinkingBudgetTokens: 0 }, /takes none/],
    ['gemini-2.5-pro', { thinkingBudgetTokens: 0 }, /takes no 0. It takes thinkingBudgetTokens \(from 128 to 32768\)/],
    ['gemini-2.5-flash-lite', { thinkingBudgetTokens: 100 }, /takes no 100/],
    ['gemini-2.5-flash', { effort: 'low' }, /takes none/],
    ['gemini-3-pro-preview', { effort: 'medium' }, /It takes effort \(low, high\)/],
    ['gemini-3.6-flash', { temperature: 1 }, /takes none/],
    ['gemini-3.7-flash', { effort: 'minimal' }, /takes no minimal/],
  ];
  test.each(refused)('of %s may not be %j', (model, settings, says) => expect(problem(model, settings)).toMatch(says));

  test('of a provider that nobody knows are none', () => {
    const model = { provider: 'other', model: 'm' };
    expect(problemOfSettings(model, { temperature: 1 }, { maxOutputTokens: 1 })).toMatch(/none of these settings/);
  });
});

describe('a call', () => {
  const asks = (model: string, settings: ModelSettings, maxOutputTokens: number, isLast = false): ModelSettings =>
    settingsOfCall(named(model), settings, { maxOutputTokens, isLast });

  test('asks for what its run says where there is room for it', () => {
    expect(asks('claude-haiku-4-5', { thinkingBudgetTokens: 2_000, stopSequences: ['X'] }, 4_096)).toEqual({
      thinkingBudgetTokens: 2_000,
      stopSequences: ['X'],
    });
    expect(asks('claude-sonnet-5', { effort: 'max' }, 2_000)).toEqual({ effort: 'max' });
    // All of so few would be thoughts.
    expect(asks('claude-sonnet-5', { effort: 'max' }, 300)).toEqual({ effort: 'low' });
  });

  test('leaves thoughts no more room than an answer can do without, and none where too little is left', () => {
    expect(asks('claude-haiku-4-5', { thinkingBudgetTokens: 2_000 }, 1_500).thinkingBudgetTokens).toBe(1_244);
    expect(asks('claude-haiku-4-5', { thinkingBudgetTokens: 2_000 }, 1_279).thinkingBudgetTokens).toBe(0);
    expect(asks('gemini-2.5-flash', { thinkingBudgetTokens: 2_000 }, 300).thinkingBudgetTokens).toBe(44);
    // It cannot be turned off.
    expect(asks('gemini-2.5-pro', { thinkingBudgetTokens: 2_000 }, 300).thinkingBudgetTokens).toBe(128);
  });

  test('that is the last one thinks as little as its model can', () => {
    expect(asks('claude-haiku-4-5', { thinkingBudgetTokens: 2_000 }, 4_096, true).thinkingBudgetTokens).toBe(0);
    expect(asks('gemini-2.5-pro', { thinkingBudgetTokens: 2_000 }, 4_096, true).thinkingBudgetTokens).toBe(128);
    expect(asks('claude-sonnet-5', { effort: 'max' }, 4_096, true).effort).toBe('low');
    expect(asks('gpt-5.1', { effort: 'high' }, 4_096, true).effort).toBe('none');
    expect(asks('gpt-5.1', {}, 4_096, true)).toEqual({});
  });
});
