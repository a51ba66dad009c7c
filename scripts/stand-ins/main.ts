/** Serves the stand-ins until Ctrl-C: `npm run stand-ins`. */
import { startAnthropicStandIn, startE2bStandIn, startGoogleStandIn, startOpenAiStandIn } from './index';

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    console.log(
      'Serves stand-ins for the Anthropic, OpenAI, Google and E2B APIs on loopback until Ctrl-C, and prints their addresses as one line of JSON.\n\n' +
        '  --allow-local-code   run any code on this machine, not only what the stand-ins wrote\n\n' +
        'Knobs: PUT /__stand-in/knobs; counters: GET /__stand-in/calls.\n' +
        'Example: npm run stand-ins',
    );
    return;
  }
  const emittedCode = new Set<string>();
  const anthropic = await startAnthropicStandIn({ emittedCode });
  const openai = await startOpenAiStandIn({ emittedCode });
  const google = await startGoogleStandIn({ emittedCode });
  const allowedCode = process.argv.includes('--allow-local-code') ? 'any' : emittedCode;
  const e2b = await startE2bStandIn({ allowedCode });
  const urls = { anthropicUrl: anthropic.url, openaiUrl: openai.url, googleUrl: google.url, e2bUrl: e2b.url };
  console.log(JSON.stringify({ standIns: true, ...urls }));
  const stop = (): void => void Promise.all([anthropic, openai, google, e2b].map((standIn) => standIn.stop()));
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

void main();
