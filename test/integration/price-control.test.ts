/** Prices are added by API and command line, with source and date; the next call uses them, and past ones keep theirs. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Answer, type TestApi } from '../support/api';
import { spendlock, type CommandEnd } from '../support/cli';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('prices', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const call = (...args: string[]): Promise<CommandEnd> => spendlock(api, 'prices', ...args);
  interface Price {
    priceVersion: string;
    model: string;
    inputUsd: string;
    outputUsd: string;
    cacheReadUsd: string | null;
    multipliers: { serviceTier: Record<string, string> };
    source: string;
  }
  const priceOf = async (model: string): Promise<Price | undefined> => {
    const { body } = await api.call('GET', '/v1/prices');
    return (body.prices as Price[]).find((price) => price.model === model);
  };
  const add = (price: object, key?: string): Promise<Answer> =>
    api.call('POST', '/v1/prices', { body: { prices: [price] }, ...(key === undefined ? {} : { key }) });
  const example = {
    provider: 'openai',
    model: 'gpt-99',
    inputUsd: '1.25',
    outputUsd: '10',
    source: 'https://example.com',
    sourceDate: '2026-11-26',
  };

  test('set: the next call uses it, what was not named stays, and past ledger lines keep theirs (F21)', async () => {
    const tenantId = await stack.tenant('5');
    const before = await stack.run({ tenantId });
    const wrong = await priceOf('claude-haiku-4-5');
    const set = await call(
      ...['set', 'claude-haiku-4-5', '--output', '10', '--source', 'https://example.com/corrected', '--json'],
    );
    expect(set).toMatchObject({
      status: 0,
      err: expect.stringMatching(/^API: \S+ \(SPENDLOCK_API_URL\)\n$/) as string,
    });
    expect(JSON.parse(set.out)).toMatchObject({
      changes: [{ model: 'claude-haiku-4-5', what: 'output', before: '$5', after: '$10' }],
    });
    expect(await priceOf('claude-haiku-4-5')).toMatchObject({
      inputUsd: wrong?.inputUsd,
      outputUsd: '10',
      cacheReadUsd: wrong?.cacheReadUsd,
      multipliers: wrong?.multipliers,
      source: 'https://example.com/corrected',
    });
    const after = await stack.run({ tenantId });
    expect(Number(after.costUsd)).toBeGreaterThan(Number(before.costUsd));
    const { rows } = await stack.admin.query<{ version: string; cost: string }>(
      `SELECT price_version AS version, trim_scale(amount_usd)::text AS cost FROM copilot_internal.cost_records
       WHERE tenant_id = $1 ORDER BY posted_at`,
      [tenantId],
    );
    expect(rows.map(({ cost }) => cost)).toEqual([before.costUsd, after.costUsd]);
    expect(rows[0]?.version).toBe(wrong?.priceVersion);
    expect(rows[1]?.version).toMatch(/^anthropic\/claude-haiku-4-5@20\d\d-.*T/);
    const audit = await stack.admin.query(
      `SELECT details, author FROM copilot_internal.audit_entries WHERE action = 'add_prices'`,
    );
    expect(audit.rows).toMatchObject([
      { details: { priceVersions: [rows[1]?.version] }, author: expect.any(String) as string },
    ]);
  });

  test('a call under way keeps the price that it was reserved at', async () => {
    const tenantId = await stack.tenant('5');
    await stack.priceModel('claude-pinned', '10');
    stack.anthropic.knobs.deltaSpacingMs = 500;
    const started = await stack.start({ tenantId, model: 'claude-pinned' });
    await until('it calls the model', () => stack.anthropic.calls().inFlight === 1);
    expect((await call('set', 'claude-pinned', '--output', '1000', '--source', 'a test')).status).toBe(0);
    stack.anthropic.knobs.deltaSpacingMs = 0;
    await stack.finish({ tenantId, ...started });
    const { rows } = await stack.admin.query(
      'SELECT price_version FROM copilot_internal.cost_records WHERE tenant_id = $1',
      [tenantId],
    );
    expect(rows).toEqual([{ price_version: 'anthropic/claude-pinned@test' }]);
  });

  test('import: shows what would change, and writes it when told to', async () => {
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'spendlock-prices-')), 'prices.json');
    const entry = { litellm_provider: 'openai', mode: 'chat', output_cost_per_token: 1e-5 };
    writeFileSync(
      file,
      JSON.stringify({
        'gpt-4o': { ...entry, input_cost_per_token: 2.5e-6, source: 'https://example.com/list' },
        'gpt-4o-mini': {
          ...entry,
          input_cost_per_token: 2e-7,
          output_cost_per_token: 6e-7,
          source: 'https://example.com/list',
        },
        'gpt-new': { ...entry, input_cost_per_token: 1e-6 },
        'gpt-odd': { ...entry, input_cost_per_token: -1 },
        other: { litellm_provider: 'someone', mode: 'chat' },
      }),
    );
    const shown = await call('import', file);
    expect(shown).toMatchObject({
      status: 0,
      err: expect.stringMatching(/^API: \S+ \(SPENDLOCK_API_URL\)\n$/) as string,
    });
    expect(shown.out).toMatch(/gpt-4o-mini +│ input +│ +\$0\.15 │ +\$0\.2 /);
    expect(shown.out).toContain('3 models read, 1 of them new or changed; 1 entry of other providers');
    expect(shown.out).toContain('left out: gpt-odd: input_cost_per_token is -1, which is no rate');
    expect(shown.out).toContain('left out: gpt-new: the file names no source for it; --source says who published it');
    expect(shown.out).toContain('Nothing was written; --yes writes it.');
    expect(await priceOf('gpt-4o-mini')).toMatchObject({ inputUsd: '0.15' });

    const written = await call('import', file, '--yes', '--source', 'https://example.com/else', '--json');
    expect(JSON.parse(written.out)).toMatchObject({
      changed: 2,
      priceVersions: [
        expect.stringMatching(/^openai\/gpt-4o-mini@/) as string,
        expect.stringMatching(/^openai\/gpt-new@/) as string,
      ],
    });
    expect(await priceOf('gpt-4o-mini')).toMatchObject({
      inputUsd: '0.2',
      cacheReadUsd: '0.075',
      source: 'https://example.com/list',
    });
    expect(await priceOf('gpt-new')).toMatchObject({ inputUsd: '1', source: 'https://example.com/else' });
    expect((await call('import', file, '--source', 'https://example.com/else')).out).toContain('Nothing to write.');
  });

  test('set: factors and rates of long prompts are said by options, and those that are not said stay', async () => {
    const model = 'gpt-factors';
    const source = ['--source', 'https://example.com'];
    await add({ ...example, model, multipliers: { serviceTier: { batch: '0.5' } } });
    const long = ['--long-context', '200000', '--long-input', '2.5', '--long-output', '15'];
    const tiers = ['--service-tier', 'priority=2', '--service-tier', 'flex=0.5', '--inference-geo', 'eu=1.1'];
    expect(await call('set', model, ...tiers, ...long, ...source)).toMatchObject({ status: 0 });
    const priced = {
      inputUsd: '1.25',
      multipliers: { serviceTier: { batch: '0.5', priority: '2', flex: '0.5' }, inferenceGeo: { eu: '1.1' } },
      longContext: { thresholdTokens: 200_000, inputUsd: '2.5', outputUsd: '15' },
    };
    expect(await priceOf(model)).toMatchObject(priced);
    const cached = await call('set', model, '--long-cache-read', '0.25', ...source, '--json');
    const changed = { model, what: 'cache read, long context', before: null, after: '$0.25' };
    expect(JSON.parse(cached.out)).toMatchObject({ changes: [changed] });
    expect(await priceOf(model)).toMatchObject(priced);
    for (const wrong of [
      ['--speed', 'fast'],
      ['--speed', 'fast=0'],
      ['--long-input', '1'],
    ])
      expect([wrong, (await call('set', 'claude-sonnet-4-6', ...wrong, ...source)).status]).toEqual([wrong, 2]);
  });

  test('set and import: what is not named is taken from what will hold then, and what was announced for later is told', async () => {
    const model = 'gpt-promo';
    const [first, next] = ['2026-02-01T00:00:00.000Z', '2099-01-01T00:00:00.000Z'];
    await add({ ...example, model, effectiveFrom: first });
    await add({ ...example, model, inputUsd: '2.5', outputUsd: '20', effectiveFrom: next });
    const source = ['--source', 'https://example.com'];
    const now = await call('set', model, '--web-search', '14', ...source);
    expect(now.out).toContain(`From 2099-01-01 on openai/${model}@2099-01-01 holds, as was announced before`);
    expect(await priceOf(model)).toMatchObject({ inputUsd: '1.25', outputUsd: '10' });

    const later = ['--from', '2099-02-01T00:00:00Z'];
    const set = await call('set', model, '--web-search', '15', ...source, ...later, '--json');
    expect(JSON.parse(set.out)).toEqual({
      priceVersions: [`openai/${model}@2099-02-01`],
      changes: [{ model, what: '1,000 web searches', before: null, after: '$15' }],
      announced: [],
    });
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'spendlock-prices-')), 'prices.json');
    const rates = { input_cost_per_token: 2e-6, output_cost_per_token: 2e-5 };
    writeFileSync(file, JSON.stringify({ [model]: { litellm_provider: 'openai', mode: 'chat', ...rates } }));
    const imported = await call('import', file, '--yes', ...source, '--from', '2099-01-15T00:00:00Z', '--json');
    expect(JSON.parse(imported.out)).toMatchObject({
      changes: [{ model, what: 'input', before: '$2.5', after: '$2' }],
      announced: [`openai/${model}@2099-02-01`],
    });
    const { body } = await api.call('GET', '/v1/prices?all=true');
    const versions = (body.prices as (Price & { effectiveFrom: string })[]).filter((price) => price.model === model);
    expect(
      versions.map(({ effectiveFrom, inputUsd, outputUsd }) => [effectiveFrom.slice(0, 10), inputUsd, outputUsd]),
    ).toEqual([
      ['2026-02-01', '1.25', '10'],
      [expect.stringMatching(/^2026-/) as string, '1.25', '10'],
      ['2099-01-01', '2.5', '20'],
      ['2099-01-15', '2', '20'],
      ['2099-02-01', '2.5', '20'],
    ]);
  });

  test.each([
    ['a model without a price and without rates', ['set', 'gpt-unheard', '--source', 's'], 1, 'has no price yet'],
    ['a rate that is none', ['set', 'gpt-4o', '--input', '-1', '--source', 's'], 2, 'US dollars per million'],
    ['no source', ['set', 'gpt-4o', '--input', '1'], 2, '--source'],
    ['no such file', ['import', 'there-is-no-such-file.json'], 2, 'cannot be read: there is no such file.'],
    [
      'a file of another kind',
      ['import', path.join(__dirname, '..', '..', 'package.json')],
      1,
      'no prices that are understood',
    ],
  ])('refuses %s', async (_name, args, status, words) => {
    const end = await call(...args);
    expect(end).toMatchObject({ status, out: '' });
    expect(end.err).toContain(words);
  });

  test('by API: all or none, once a moment, and by administrators alone', async () => {
    const at = { ...example, effectiveFrom: '2026-12-01T00:00:00Z' };
    expect(await add(at)).toMatchObject({ status: 201, body: { priceVersions: ['openai/gpt-99@2026-12-01'] } });
    expect(await priceOf('gpt-99')).toBeUndefined();
    expect(await add(at)).toMatchObject({ status: 409, body: { error: 'price_exists' } });
    const tenantKey = await api.keyOf(await stack.tenant('5'));
    expect(await add(example, tenantKey)).toMatchObject({ status: 403, body: { error: 'forbidden' } });
    const two = [{ ...example, model: 'gpt-98' }, at];
    expect(await api.call('POST', '/v1/prices', { body: { prices: two } })).toMatchObject({ status: 409 });
    expect(await priceOf('gpt-98')).toBeUndefined();
  });

  test.each([
    ['a negative rate', { inputUsd: '-1' }],
    ['NaN', { inputUsd: 'NaN' }],
    ['a number', { inputUsd: 1.25 }],
    ['a rate that would be rounded', { outputUsd: '0.0000001' }],
    ['an absurd rate', { outputUsd: '1000000' }],
    ['a factor of zero', { multipliers: { speed: { fast: '0.0' } } }],
    ['half a long-context price', { longContext: { thresholdTokens: 1, inputUsd: '1' } }],
    ['no source', { source: ' ' }],
    ['a day that is none', { sourceDate: '2026-02-30' }],
    ['an unknown field', { color: 'red' }],
  ])('by API: refuses %s', async (_name, wrong) => {
    const { status, body } = await add({ ...example, ...wrong });
    expect({ status, error: body.error }).toEqual({ status: 400, error: 'invalid_request' });
    expect(body.message).toContain('Nothing was');
  });

  test('a version that begins before the one in force is refused: it would never hold, and so is one that would send calls elsewhere', async () => {
    const before = await priceOf('claude-sonnet-4-6');
    const past = ['--from', '2026-02-01T00:00:00Z'];
    const source = ['--source', 'https://example.com'];
    const now = await call('set', 'claude-sonnet-4-6', '--input', '4', ...source);
    expect(now.status).toBe(0);
    const late = await call('set', 'claude-sonnet-4-6', '--input', '5', ...source, ...past);
    expect(late).toMatchObject({ status: 2, out: '' });
    expect(late.err).toMatch(
      /prices\.0\.effectiveFrom: anthropic\/claude-sonnet-4-6@\S+ is in force since .*Nothing was added/,
    );
    const { body } = await api.call('GET', '/v1/prices?all=true');
    const versions = (body.prices as Price[]).filter(({ model }) => model === 'claude-sonnet-4-6');
    const inputs = versions.map(({ inputUsd }) => inputUsd);
    expect(inputs).toEqual(expect.arrayContaining([before?.inputUsd, '4']));
    expect(inputs).not.toContain('5');
    // The first version of a model may begin whenever it did, and one to come may be announced.
    const first = { ...example, model: 'gpt-first', effectiveFrom: '2026-02-01T00:00:00Z' };
    expect(await add(first)).toMatchObject({ status: 201 });
    expect(await add({ ...first, effectiveFrom: '2099-01-01T00:00:00Z' })).toMatchObject({ status: 201 });
    const elsewhere = await call('set', 'claude-sonnet-4-6', '--provider', 'openai', ...source);
    expect(elsewhere).toMatchObject({
      status: 2,
      err: expect.stringContaining('claude-sonnet-4-6 has a price as a model of anthropic') as string,
    });
    const rates = ['--vcpu-second', '0.1', '--gib-second', '0'];
    const tier = ['set-sandbox', 'standard', '--vcpu', '4', '--memory-mib', '8192', ...rates, ...source];
    expect(await call(...tier, '--from', '2026-01-01T00:00:00Z')).toMatchObject({
      status: 2,
      err: expect.stringContaining('is in force since') as string,
    });
  });
});
