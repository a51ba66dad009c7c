/** Serves the stand-ins until Ctrl-C: `npm run stand-ins`. */
import { randomBytes } from 'node:crypto';
import { startAnthropicStandIn, startE2bStandIn, startGoogleStandIn, startOpenAiStandIn } from './index';

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    console.log(
      'Serves stand-ins for the Anthropic, OpenAI, Google and E2B APIs on loopback until Ctrl-C, and prints their addresses as one line of JSON.\n\n' +
        '  --allow-local-code   run any code on this machine, not only what the stand-ins wrote\n\n' +
        'They answer whoever brings the key that is printed with the addresses; it is another each time.\n' +
        'Knobs: PUT /__stand-in/knobs; counters: GET /__stand-in/calls.\n' +
        'Example: npm run stand-ins',
    );
    return;
  }
  const emittedCode = new Set<string>();
  const access = { key: `stand-in-${randomBytes(24).toString('base64url')}`, isSteerable: true };
  const anthropic = await startAnthropicStandIn({ ...access, emittedCode });
  const openai = await startOpenAiStandIn({ ...access, emittedCode });
  const google = await startGoogleStandIn({ ...access, emittedCode });
  const allowedCode = process.argv.includes('--allow-local-code') ? 'any' : emittedCode;
  const e2b = await startE2bStandIn({ ...access, allowedCode });
  const urls = { anthropicUrl: anthropic.url, openaiUrl: openai.url, googleUrl: google.url, e2bUrl: e2b.url };
  console.log(JSON.stringify({ standIns: true, key: access.key, ...urls }));
  const stop = (): void => void Promise.all([anthropic, openai, google, e2b].map((standIn) => standIn.stop()));
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

void main();
