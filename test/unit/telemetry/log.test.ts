import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createLog, withoutQuotes } from '../../../telemetry/log';

describe('log lines', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-log-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('have the fields that are listed, and of the others their names only', async () => {
    const file = path.join(folder, 'lines');
    const log = createLog({ name: 'test', level: 'info', destination: file });
    const more = { prompt: 'canary', headers: { authorization: 'canary' }, apiKey: 'canary' };
    log.info({ tenantId: 'acme', ...more }, 'one line');
    const cause = new AggregateError([new Error('connect ECONNREFUSED')]);
    log.error({ error: new Error('not sent', { cause }) }, 'a cause');
    log.error({ error: new Error('refused: "canary said \\"this\\""') }, 'another');
    const writtenLines = (): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length : 0);
    log.debug('too fine for this level');
    for (let tries = 0; tries < 100 && writtenLines() < 3; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const text = readFileSync(file, 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(text).not.toContain('canary');
    expect(lines).toMatchObject([
      { tenantId: 'acme', withheld: ['prompt', 'headers', 'apiKey'], msg: 'one line' },
      { error: 'Error: not sent, caused by AggregateError, caused by Error: connect ECONNREFUSED', msg: 'a cause' },
      { error: 'Error: refused: "…"', msg: 'another' },
    ]);
  });

  test.each([
    ['connect ECONNREFUSED 127.0.0.1:5432', 'connect ECONNREFUSED 127.0.0.1:5432'],
    ['relation "cost_quotas" does not exist', 'relation "cost_quotas" does not exist'],
    [`Unexpected token 'H', "Hello, I am"... is not valid JSON`, `Unexpected token '…', "…"... is not valid JSON`],
    ['invalid input syntax for type uuid: "My name is"', 'invalid input syntax for type uuid: "…"'],
    ['it ends in a quote: "and goes on\nover lines', 'it ends in a quote: "…'],
    ['Incorrect API key provided: sk-abcdefgh1234', 'Incorrect API key provided: [key]'],
  ])('of the error %j keep %j', (text, kept) => {
    expect(withoutQuotes(text)).toBe(kept);
  });
});
