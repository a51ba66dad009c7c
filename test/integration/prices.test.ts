import { Client } from 'pg';
import { formatUsd, PICO_PER_USD } from '../../core/money';
import {
  findModelPrice,
  modelPriceFromRow,
  UnpricedModelError,
  type ModelPrice,
  type ModelPriceRow,
} from '../../core/prices/prices';
import { costOfUsage, type CostKind } from '../../core/prices/pricing';
import {
  costOfSandbox,
  findSandboxPrice,
  sandboxPriceFromRow,
  type SandboxPriceRow,
} from '../../core/prices/sandbox-prices';
import { usageOf, type ModelUsage, type UsageModifiers } from '../../core/prices/usage';
import { createTestDatabase } from '../support/database';

type TokenKind = Exclude<CostKind, 'web_search'>;
const columns: Record<TokenKind, string> = {
  input: 'input_usd_per_mtok',
  output: 'output_usd_per_mtok',
  cache_read: 'cache_read_usd_per_mtok',
  cache_write_5m: 'cache_write_5m_usd_per_mtok',
  cache_write_1h: 'cache_write_1h_usd_per_mtok',
};
const fields: Record<TokenKind, keyof ModelUsage> = {
  input: 'inputTokens',
  output: 'outputTokens',
  cache_read: 'cacheReadTokens',
  cache_write_5m: 'cacheWrite5mTokens',
  cache_write_1h: 'cacheWrite1hTokens',
};
const kinds = Object.keys(columns) as TokenKind[];
const quantities = [1, 7, 123_457, 1_000_000];

describe('the price table', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let admin: Client;
  let app: Client;
  let rows: ModelPriceRow[];
  let prices: ModelPrice[];
  const at = (iso: string): number => Date.parse(iso);

  beforeAll(async () => {
    database = await createTestDatabase();
    admin = new Client({ connectionString: database.adminUrl });
    app = new Client({ connectionString: database.appUrl });
    await admin.connect();
    await app.connect();
    const found = await app.query<ModelPriceRow>(
      'SELECT *, source_date::text AS source_date FROM copilot_internal.model_prices ORDER BY price_version',
    );
    rows = found.rows;
    prices = rows.map(modelPriceFromRow);
  });

  afterAll(async () => {
    await app?.end();
    await admin?.end();
    await database?.drop();
  });

  /** What Postgres makes of it: exact decimal arithmetic that shares no code with core. */
  async function expectedCosts(prefix: string, quantity: number): Promise<Map<string, Record<string, string | null>>> {
    const list = kinds.map((kind) => `trim_scale(${prefix}${columns[kind]} * ${quantity} / 1000000)::text AS ${kind}`);
    const found = await app.query<Record<string, string | null> & { price_version: string }>(
      `SELECT price_version, ${list.join(', ')} FROM copilot_internal.model_prices`,
    );
    return new Map(found.rows.map((row) => [row.price_version, row]));
  }

  const costText = (price: ModelPrice, usage: Partial<ModelUsage>): string =>
    formatUsd(costOfUsage(price, usageOf(usage)).costUsd);

  it('prices at least 27 models of OpenAI, Anthropic and Google, each with a source, a date and an exact name (Q7)', () => {
    expect(new Set(rows.map((row) => row.model)).size).toBeGreaterThanOrEqual(27);
    for (const provider of ['openai', 'anthropic', 'google']) {
      expect(rows.filter((row) => row.provider === provider).length).toBeGreaterThanOrEqual(5);
    }
    for (const row of rows) {
      const day = new Date(row.effective_from).toISOString().slice(0, 10);
      expect(row.price_version).toBe(`${row.provider}/${row.model}@${day}`);
      expect(row.source).toMatch(/^https:\/\//);
      expect(row.source_date).toMatch(/^202[56]-\d\d-\d\d$/);
    }
  });

  it.each([
    ['gpt-4o', '2.5', '10'],
    ['claude-3-5-sonnet-20241022', '3', '15'],
    ['gemini-2.0-flash-exp', '0', '0'],
  ])('has %s at %s in and %s out per million tokens, effective 2026-01-04', (model, input, output) => {
    const price = findModelPrice(prices, { model, at: at('2026-01-04T00:00:00Z') });
    expect(new Date(price.effectiveFromMs).toISOString()).toBe('2026-01-04T00:00:00.000Z');
    expect([formatUsd(price.rates.inputUsd), formatUsd(price.rates.outputUsd)]).toEqual([input, output]);
    expect(() => findModelPrice(prices, { model, at: at('2026-01-03T23:59:59Z') })).toThrow(UnpricedModelError);
  });

  it.each([
    ['gpt-6-astra', '2026-09-03', '10', '50'],
    ['gpt-6.1-terra', '2026-10-26', '1', '5'],
    ['gpt-6.2-astra', '2026-11-17', '8', '40'],
    ['gemini-4-carbon', '2026-11-30', '2', '10'],
    ['gemini-4-carbon', '2026-12-01', '4', '20'],
    ['gemini-4-neon', '2026-11-18', '3', '15'],
  ])('has the newer %s as of %s at %s in and %s out per million tokens', (model, day, input, output) => {
    const { rates } = findModelPrice(prices, { model, at: at(`${day}T00:00:00Z`) });
    expect([formatUsd(rates.inputUsd), formatUsd(rates.outputUsd)]).toEqual([input, output]);
  });

  it('costs exactly what Postgres calculates, for every token kind of every row (V1)', async () => {
    let compared = 0;
    for (const quantity of quantities) {
      const expected = await expectedCosts('', quantity);
      for (const price of prices) {
        // Long context is another test; 1,000,000 prompt tokens would cross the threshold.
        const base = { ...price, longContext: undefined };
        for (const kind of kinds) {
          const text = expected.get(price.priceVersion)?.[kind] ?? null;
          const cost = (): string => costText(base, { [fields[kind]]: quantity });
          if (text === null) expect(cost).toThrow(/has no rate for/);
          else expect([price.priceVersion, kind, cost()]).toEqual([price.priceVersion, kind, text]);
          compared += 1;
        }
      }
    }
    expect(compared).toBe(rows.length * kinds.length * quantities.length);
  });

  it('costs exactly what Postgres calculates above the long-context threshold of every row that has one (V1)', async () => {
    const long = prices.filter((price) => price.longContext !== undefined);
    expect(long.length).toBeGreaterThan(5);
    for (const price of long) {
      const prompt = (price.longContext?.thresholdTokens ?? 0) + 1;
      const [forPrompt, forOutput] = [
        await expectedCosts('long_context_', prompt),
        await expectedCosts('long_context_', 77),
      ];
      const [input, output] = [forPrompt.get(price.priceVersion)?.input, forOutput.get(price.priceVersion)?.output];
      expect(costText(price, { inputTokens: prompt })).toBe(input);
      const both = costOfUsage(price, usageOf({ inputTokens: prompt, outputTokens: 77 }));
      expect(both.lines.map((line) => formatUsd(line.amountUsd))).toEqual([input, output]);
    }
  });

  it('costs exactly what Postgres calculates with every factor of every row (V1)', async () => {
    const found = await app.query<{ price_version: string; name: keyof UsageModifiers; value: string; cost: string }>(
      `SELECT p.price_version, kind.key AS name, factor.key AS value,
              trim_scale(ceil(p.input_usd_per_mtok * 98765 / 1000000 * factor.value::numeric * 1e12) / 1e12)::text AS cost
       FROM copilot_internal.model_prices p, jsonb_each(p.multipliers) AS kind, jsonb_each_text(kind.value) AS factor`,
    );
    expect(found.rows.length).toBeGreaterThan(20);
    for (const { price_version: version, name, value, cost } of found.rows) {
      const price = prices.find((candidate) => candidate.priceVersion === version) as ModelPrice;
      expect(costText(price, { inputTokens: 98_765, modifiers: { [name]: value } })).toBe(cost);
    }
  });

  it('takes the next version from its moment on', () => {
    const read = (iso: string): string =>
      formatUsd(
        findModelPrice(prices, { model: 'claude-sonnet-5-5', at: at(iso) }).rates.cacheReadUsd ?? -PICO_PER_USD,
      );
    expect([read('2026-10-06T23:59:59Z'), read('2026-10-07T00:00:00Z')]).toEqual(['0.2', '0.1']);
  });

  it('prices the standard sandbox tier at 0.0276 USD for five minutes', async () => {
    const found = await app.query<SandboxPriceRow>('SELECT * FROM copilot_internal.sandbox_prices');
    const sandboxPrices = found.rows.map(sandboxPriceFromRow);
    const standard = findSandboxPrice(sandboxPrices, { vcpu: 4, memoryMib: 8192, at: at('2026-01-04T00:00:00Z') });
    expect(standard.tier).toBe('standard');
    expect(formatUsd(costOfSandbox(standard, { seconds: 300 }))).toBe('0.0276');
    expect(findSandboxPrice(sandboxPrices, { tier: 'default', at: at('2026-01-04T00:00:00Z') })).toMatchObject({
      vcpu: 2,
      memoryMib: 512,
    });
  });

  it.each(['UPDATE', 'DELETE', 'TRUNCATE'])('refuses %s, whoever asks', async (verb) => {
    const statements: Record<string, string> = {
      UPDATE: 'UPDATE copilot_internal.model_prices SET input_usd_per_mtok = 1',
      DELETE: 'DELETE FROM copilot_internal.model_prices',
      TRUNCATE: 'TRUNCATE copilot_internal.model_prices',
    };
    await expect(admin.query(statements[verb] ?? '')).rejects.toMatchObject({ code: 'SL002' });
    await expect(app.query(statements[verb] ?? '')).rejects.toMatchObject({ code: '42501' });
  });

  const insert = (values: Record<string, unknown>): Promise<unknown> => {
    const row: Record<string, unknown> = {
      price_version: 'openai/model-x@2026-02-01',
      provider: 'openai',
      model: 'model-x',
      effective_from: '2026-02-01T00:00:00Z',
      input_usd_per_mtok: '1.25',
      output_usd_per_mtok: '10',
      source: 'a test',
      source_date: '2026-02-01',
      ...values,
    };
    const names = Object.keys(row);
    const places = names.map((_name, index) => `$${index + 1}`).join(', ');
    return admin.query(
      `INSERT INTO copilot_internal.model_prices (${names.join(', ')}) VALUES (${places})`,
      Object.values(row),
    );
  };

  it.each([
    ['a negative rate', { input_usd_per_mtok: '-0.01' }],
    ['NaN', { output_usd_per_mtok: 'NaN' }],
    ['an infinite rate', { input_usd_per_mtok: 'Infinity' }],
    ['an absurdly large rate', { input_usd_per_mtok: '1000000' }],
    ['a rate that would be rounded', { input_usd_per_mtok: '0.0000001' }],
    ['a missing rate', { output_usd_per_mtok: null }],
    ['half a long-context price', { long_context_threshold_tokens: 1000, long_context_input_usd_per_mtok: '2' }],
    ['a long-context rate without a threshold', { long_context_cache_read_usd_per_mtok: '2' }],
    ['a factor of zero', { multipliers: '{"speed":{"fast":"0.0"}}' }],
    ['a factor that is no decimal string', { multipliers: '{"speed":{"fast":2}}' }],
    ['an unknown kind of factor', { multipliers: '{"mood":{"good":"2"}}' }],
    ['factors that are no object', { multipliers: '[]' }],
    ['a version named after another model', { price_version: 'openai/other@2026-02-01' }],
    ['no source', { source: '' }],
  ])('refuses %s', async (_name, values) => {
    await expect(insert(values)).rejects.toMatchObject({ code: expect.stringMatching(/^23/) as string });
  });

  it('takes a corrected price as a new version, and the old one keeps its moment', async () => {
    await insert({});
    await expect(insert({ price_version: 'openai/model-x@again' })).rejects.toMatchObject({ code: '23505' });
    await insert({
      price_version: 'openai/model-x@2026-02-02',
      effective_from: '2026-02-02T00:00:00Z',
      input_usd_per_mtok: '12.5',
    });
    const found = await admin.query<ModelPriceRow>(
      "SELECT *, source_date::text AS source_date FROM copilot_internal.model_prices WHERE model = 'model-x'",
    );
    const versions = found.rows.map(modelPriceFromRow);
    const input = (iso: string): string =>
      formatUsd(findModelPrice(versions, { model: 'model-x', at: at(iso) }).rates.inputUsd);
    expect([input('2026-02-01T12:00:00Z'), input('2026-02-02T00:00:00Z')]).toEqual(['1.25', '12.5']);
  });
});
