/** Serves both stand-ins until Ctrl-C: `npm run stand-ins`. */
import { startAnthropicStandIn, startE2bStandIn } from './index';

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    console.log(
      'Serves stand-ins for the Anthropic and E2B APIs on loopback until Ctrl-C, and prints their addresses as one line of JSON.\n\n' +
        '  --allow-local-code   run any code on this machine, not only what the Anthropic stand-in wrote\n\n' +
        'Knobs: PUT /__stand-in/knobs; counters: GET /__stand-in/calls.\n' +
        'Example: npm run stand-ins',
    );
    return;
  }
  const anthropic = await startAnthropicStandIn();
  const allowedCode = process.argv.includes('--allow-local-code') ? 'any' : anthropic.emittedCode;
  const e2b = await startE2bStandIn({ allowedCode });
  console.log(JSON.stringify({ standIns: true, anthropicUrl: anthropic.url, e2bUrl: e2b.url }));
  const stop = (): void => void Promise.all([anthropic.stop(), e2b.stop()]);
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

void main();
