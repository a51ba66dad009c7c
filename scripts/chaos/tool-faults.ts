/** What happens to tools, and to those who call them. What has to hold of it is in tool-checks.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from './installation';
import type { Chance } from './random';

/** How long a call is waited for. */
const calledMs = 10_000;

/** The server of tools ends in the middle of calls, and comes back. */
export async function toolsVanish({ tools }: Installation, chance: Chance): Promise<void> {
  await tools?.vanish(chance.between(500, 4_000));
}

/** Workers are killed while a tool works: what it answers then nobody hears. */
export async function killedWhileCalled({ tools, processes }: Installation, chance: Chance): Promise<void> {
  if (!tools) return;
  const before = tools.heard.size;
  for (const endMs = Date.now() + calledMs; tools.heard.size === before && Date.now() < endMs;) await sleep(5);
  await sleep(chance.between(0, 400));
  // Nobody can see which of them called.
  for (const place of [0, 1]) processes.killWorker(place);
}
