/** What recorded usage would have cost by other prices. */
import { Repricing } from '../../../core/prices/repricing';
import { usageOf } from '../../../core/prices/usage';
import { modelPriceOf } from '../../../store/prices';
import { usd } from '../../support/budget-model';

const price = (model: string, inputUsd: string, outputUsd: string) =>
  modelPriceOf({
    ...{ provider: 'openai', model, inputUsd, outputUsd, effectiveFrom: new Date(0) },
    ...{ source: '', sourceDate: '1970-01-01' },
  });

describe('usage that is priced anew', () => {
  test('costs what the other prices say, model by model, to the last digit', () => {
    const repricing = new Repricing([price('small', '0.000001', '2'), price('large', '10', '20')]);
    const call = { resource: 'llm', costUsd: usd('0.5') };
    repricing.add({ ...call, model: 'small', usage: usageOf({ inputTokens: 3, outputTokens: 1 }) });
    repricing.add({ ...call, model: 'small', usage: usageOf({ outputTokens: 2 }) });
    repricing.add({ ...call, model: 'large', usage: usageOf({ inputTokens: 1_000_000 }) });
    expect(Object.fromEntries(repricing.byModel)).toEqual({
      small: { operations: 2, recordedUsd: usd('1'), wouldCostUsd: usd('0.000006000003') },
      large: { operations: 1, recordedUsd: usd('0.5'), wouldCostUsd: usd('10') },
    });
    expect(repricing.leftOut.size).toBe(0);
  });

  test.each<[string, string | null, unknown, string]>([
    ['another model', 'medium', usageOf({ inputTokens: 1 }), 'no price in the list'],
    ['no usage', 'small', undefined, 'no whole usage on record'],
    ['what a caller told as it liked', 'small', { inputTokens: 1200 }, 'no whole usage on record'],
    ['a count that is none', 'small', { ...usageOf(), inputTokens: -1 }, 'no whole usage on record'],
    ['nothing in place of a request', 'small', { ...usageOf(), compactions: [null] }, 'no whole usage on record'],
    ['what has no rate', 'small', usageOf({ cacheReadTokens: 1 }), 'no rate for what was used'],
    ['a tool', null, undefined, 'no model'],
  ])('leaves out %s, and says why', (_what, model, usage, why) => {
    const repricing = new Repricing([price('small', '1', '2')]);
    repricing.add({ resource: 'llm', model, costUsd: usd('0.5'), usage });
    expect([...repricing.leftOut]).toEqual([[why, { operations: 1, recordedUsd: usd('0.5') }]]);
    expect(repricing.byModel.size).toBe(0);
  });
});
