/** What happens to other people's agents in the middle of their calls. What has to hold of it is in door-checks.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from './installation';
import type { Chance } from './random';

/** How many stream, and how many agents ask, at once. */
const streamsAtOnce = 4;
const agentsAtOnce = 3;
/** The longest stream goes on for longer than that, the shortest for a third of it: when one is killed, some are whole as a rule. */
const streamedMs = 1_500;
/** How long an API may take to start. */
const servedMs = 30_000;
/** Some of what came after an answer may have been done by then, and some not. */
const answeredMs = 15;

/** An API that passes streams on is killed; what it held runs out. */
export async function streamsKilled({ doors, processes }: Installation, chance: Chance): Promise<void> {
  if (!doors) return;
  const place = chance.between(0, 1);
  await isServed(processes.apiAt(place));
  const begun = await Promise.all(
    Array.from({ length: streamsAtOnce }, (_, at) =>
      doors.stream(processes.apiAt(place), ((at + 1) / streamsAtOnce) * (streamedMs + 200)),
    ),
  );
  // Some are whole, and others cut, however slow the machine is.
  if (!doors.streams.some(({ isWhole }) => isWhole)) await Promise.race(begun.map(({ ended }) => ended));
  else await sleep(chance.between(0, streamedMs));
  processes.killApi(place);
  await Promise.all(begun.map(({ ended }) => ended));
}

/** It may have been killed a moment ago. */
async function isServed(apiUrl: string): Promise<void> {
  const look = (): Promise<Response | undefined> =>
    fetch(`${apiUrl}/readyz`, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
  for (const endMs = Date.now() + servedMs; !(await look())?.ok && Date.now() < endMs;) await sleep(200);
}

/** A worker of agents is killed between what a provider answered and what it would have said of it. */
export async function agentsKilled({ doors }: Installation, chance: Chance): Promise<void> {
  if (!doors) return;
  const by = chance.is(0.5) ? 'API' : 'Postgres';
  await Promise.all(Array.from({ length: agentsAtOnce }, () => doors.agent(by)));
  await doors.killAsAnswered(by, chance.between(0, answeredMs));
}
