/** A stand-in for a provider of models in a process of its own, so that it takes no time of who is measured. */
import { startAnthropicStandIn } from '../stand-ins';

async function main(): Promise<void> {
  const { url } = await startAnthropicStandIn({ isSteerable: true });
  process.send?.({ url });
  for (const end of ['disconnect', 'SIGTERM'] as const) process.once(end as 'SIGTERM', () => process.exit());
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
