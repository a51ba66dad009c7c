/** A chain of LangChain.js: the base URL and the key are all that changes. */
import { ChatPromptTemplate } from '@langchain/core/prompts';
import { ChatOpenAI } from '@langchain/openai';

const model = new ChatOpenAI({
  model: 'gpt-5-mini',
  apiKey: process.env.SPENDLOCK_API_KEY ?? '',
  maxTokens: 500,
  // It tries again by itself whatever the answer says, six times unless told otherwise, and each try may be charged.
  maxRetries: 0,
  configuration: {
    baseURL: `${process.env.SPENDLOCK_API_URL}/proxy/openai/v1`,
    defaultHeaders: { 'x-spendlock-labels': 'feature=translation' },
  },
});
const chain = ChatPromptTemplate.fromMessages([
  ['system', 'You translate into {language}.'],
  ['user', '{text}'],
]).pipe(model);

async function main(): Promise<void> {
  const [text = 'Good morning.', language = 'Norwegian'] = process.argv.slice(2);
  for await (const { text: part } of await chain.stream({ text, language })) process.stdout.write(part);
  process.stdout.write('\n');
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 3;
});
