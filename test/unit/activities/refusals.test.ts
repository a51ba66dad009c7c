/** What a refusal costs, by Anthropic's SDK over its wire format: before any output it depends on the category. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { anthropicProvider } from '../../../activities/llm/anthropic';
import { formatUsd } from '../../../core/money';
import { priceCall } from '../../../core/prices/price-call';
import { modelPriceFromRow } from '../../../core/prices/prices';

const model = 'claude-that-refuses';
const noLongContext = {
  long_context_threshold_tokens: null,
  long_context_input_usd_per_mtok: null,
  long_context_output_usd_per_mtok: null,
  long_context_cache_read_usd_per_mtok: null,
  long_context_cache_write_5m_usd_per_mtok: null,
  long_context_cache_write_1h_usd_per_mtok: null,
};
const price = modelPriceFromRow({
  ...noLongContext,
  price_version: 'test',
  provider: 'anthropic',
  model,
  effective_from: '2026-01-01T00:00:00Z',
  input_usd_per_mtok: '10',
  output_usd_per_mtok: '50',
  cache_read_usd_per_mtok: '1',
  cache_write_5m_usd_per_mtok: '12.5',
  cache_write_1h_usd_per_mtok: '20',
  web_search_usd_per_thousand: '10',
  multipliers: {},
  notes: '',
  source: '',
  source_date: '2026-01-01',
});

/** The events of a refusal whose prompt has 90,000 tokens, after three tokens of text or none. */
function refusal(text: string, details: object | undefined): ({ type: string } & Record<string, unknown>)[] {
  const usage = { input_tokens: 90_000, output_tokens: text === '' ? 0 : 3 };
  const begun = {
    id: 'm',
    type: 'message',
    role: 'assistant',
    model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
  };
  const block = [
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } },
    { type: 'content_block_stop', index: 0 },
  ];
  const delta = { stop_reason: 'refusal', stop_sequence: null, ...details };
  return [
    { type: 'message_start', message: { ...begun, usage: { ...usage, output_tokens: 0 } } },
    ...(text === '' ? [] : block),
    { type: 'message_delta', delta, usage },
    { type: 'message_stop' },
  ];
}

async function costOf(text: string, details: object | undefined): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const event of refusal(text, details))
      response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1' }, resolve));
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = anthropicProvider({ apiKey: 'stand-in', baseURL });
  const prompt = {
    system: '',
    messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text: 'x' }] }],
    tools: [],
  };
  const options = { signal: new AbortController().signal, idleMs: 5_000 };
  const reply = await provider.stream({ model, price, maxOutputTokens: 100, prompt }, options);
  server.closeAllConnections();
  server.close();
  expect(reply.stopReason).toBe('refusal');
  const priced = priceCall(() => provider.usageOf(reply, price), { price, prices: [price], at: Date.now() });
  return priced.isPriced ? formatUsd(priced.costUsd) : 'unverified';
}

const of = (category: string | null): object => ({ stop_details: { type: 'refusal', category, explanation: null } });

test.each([
  ['of cyber before any output is not billed', '', of('cyber'), '0'],
  ['of general harms before any output is not billed', '', of('general_harms'), '0'],
  ['of no named category before any output is not billed', '', of(null), '0'],
  ['of bio before any output is billed', '', of('bio'), '0.9'],
  ['of frontier models before any output is billed', '', of('frontier_llm'), '0.9'],
  ['of reasoning extraction before any output is billed', '', of('reasoning_extraction'), '0.9'],
  ['of a category that came later is not known', '', of('of_tomorrow'), 'unverified'],
  ['that tells no category is not known', '', undefined, 'unverified'],
  ['of cyber after some text is billed', 'Hello.', of('cyber'), '0.90015'],
])('a refusal %s', async (_what, text, details, cost) => {
  expect(await costOf(text, details)).toBe(cost);
});
