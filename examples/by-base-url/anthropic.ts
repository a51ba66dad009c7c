/**
 * An agent by Anthropic's own SDK: what makes its calls budgeted is the base URL and the key. The second call is not made where the money
 * for it is not there.
 */
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({
  baseURL: `${process.env.SPENDLOCK_API_URL}/proxy/anthropic`,
  apiKey: process.env.SPENDLOCK_API_KEY ?? '',
  // A try that is given up may have been billed, and is charged: rather long.
  timeout: 600_000,
  defaultHeaders: { 'x-spendlock-labels': 'feature=summary' },
});

async function say(question: string): Promise<void> {
  const stream = client.messages.stream({
    model: 'claude-haiku-4-5',
    // What is reserved before the call follows from it.
    max_tokens: 500,
    messages: [{ role: 'user', content: question }],
  });
  stream.on('text', (text) => process.stdout.write(text));
  await stream.finalMessage();
  process.stdout.write('\n');
}

async function main(): Promise<void> {
  try {
    for (const question of process.argv.slice(2)) await say(question);
  } catch (error) {
    if (!(error instanceof Anthropic.RateLimitError)) throw error;
    process.stderr.write(`There is no money for it: ${error.message}\n`);
    process.exitCode = 3;
  }
}

void main();
