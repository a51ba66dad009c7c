/** An agent by OpenAI's own SDK, with a tool of its own: what makes its calls budgeted is the base URL and the key. */
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.SPENDLOCK_API_URL}/proxy/openai/v1`,
  apiKey: process.env.SPENDLOCK_API_KEY ?? '',
  // A try that is given up may have been billed, and is charged: rather long.
  timeout: 600_000,
  defaultHeaders: { 'x-spendlock-labels': 'feature=weather' },
});

const tools: OpenAI.Responses.FunctionTool[] = [
  {
    type: 'function',
    name: 'weather',
    description: 'The weather of a place',
    parameters: {
      type: 'object',
      properties: { place: { type: 'string' } },
      required: ['place'],
      additionalProperties: false,
    },
    strict: true,
  },
];

async function answer(question: string): Promise<string> {
  const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: question }];
  for (let steps = 0; steps < 5; steps += 1) {
    // Nothing is stored at the provider, so what was thought comes along in the next call.
    const include: OpenAI.Responses.ResponseIncludable[] = ['reasoning.encrypted_content'];
    const response = await client.responses.create({
      model: 'gpt-5-mini',
      max_output_tokens: 500,
      input,
      tools,
      store: false,
      include,
    });
    const calls = response.output.filter((item) => item.type === 'function_call');
    if (calls.length === 0) return response.output_text;
    for (const item of response.output)
      if (item.type === 'reasoning' || item.type === 'function_call') input.push(item);
    for (const { call_id } of calls)
      input.push({ type: 'function_call_output', call_id, output: 'Sunny, 21 degrees.' });
  }
  throw new Error('It asked for the weather too often.');
}

async function main(): Promise<void> {
  try {
    process.stdout.write(`${await answer(process.argv[2] ?? 'How is the weather in Bergen?')}\n`);
  } catch (error) {
    if (!(error instanceof OpenAI.RateLimitError)) throw error;
    process.stderr.write(`There is no money for it: ${error.message}\n`);
    process.exitCode = 3;
  }
}

void main();
