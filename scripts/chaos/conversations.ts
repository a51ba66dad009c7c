/** People who talk: a conversation of a few messages, some sent before the last was answered, some interrupted, then closed. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller } from './caller';
import type { Talking, Tenant, ToldMessage } from './scene';

/** How long a person waits for an answer before closing: longer than any fault. */
const patienceMs = 30_000;

export async function talk({ tenantId, chance }: Tenant, load: Talking): Promise<void> {
  const { caller, conversations, messages } = load;
  const named = (): Record<string, string> => ({ 'idempotency-key': randomUUID() });
  const opened = await caller.insist(
    'POST',
    '/v1/conversations',
    {
      tenantId,
      sandbox: { windowSeconds: 60, pauseAfterSeconds: 2, killAfterSeconds: 10 },
      ...(chance.is(0.3) ? { onDenied: 'wait' } : {}),
    },
    named(),
  );
  if (opened?.status !== 201) return void (await sleep(1_000));
  const conversationId = String(opened.body.conversationId);
  conversations.push({ tenantId, conversationId, atMs: Date.now() });
  const where = `/v1/conversations/${conversationId}`;
  const said: ToldMessage[] = [];
  for (let left = chance.between(1, 4); left > 0 && !load.isStopping; left -= 1) {
    const message = `${chance.is(0.3) ? 'Profile this file.' : 'Say something.'} ${randomUUID()}`;
    const isInterrupted = chance.is(0.15);
    const waits = chance.is(0.5);
    const answer = await caller.insist('POST', `${where}/messages`, { tenantId, message }, named());
    if (answer?.status !== 202) {
      await sleep(chance.between(200, 1_000));
      continue;
    }
    const turnId = String(answer.body.turnId);
    const told = { tenantId, conversationId, turnId, message, stopped: false, atMs: Date.now() };
    said.push(told);
    messages.push(told);
    if (isInterrupted) {
      // Also one that is not answered may have been heard.
      told.stopped = true;
      await sleep(chance.between(0, 300));
      await caller.call('POST', `${where}/interrupt`, { tenantId, turnId: told.turnId });
    }
    if (waits) await ended([told], caller);
  }
  // One that waits for money may wait for days.
  if (!(await ended(said, caller))) for (const told of said) told.stopped = true;
  await caller.insist('POST', `${where}/close`, { tenantId }, named());
  for (const told of said) told.closedAtMs = Date.now();
}

/** Waits for the turns of some messages of one conversation to end. False when they do not for long. */
async function ended(said: readonly ToldMessage[], caller: Caller): Promise<boolean> {
  const [first] = said;
  if (!first) return true;
  const where = `/v1/conversations/${first.conversationId}/messages?tenantId=${first.tenantId}`;
  for (const giveUpMs = Date.now() + patienceMs; Date.now() < giveUpMs; await sleep(500)) {
    const turns = ((await caller.call('GET', where))?.body.turns ?? []) as { turnId: string; endedAt: string | null }[];
    const over = new Set(turns.filter(({ endedAt }) => endedAt !== null).map(({ turnId }) => turnId));
    if (said.every(({ turnId }) => over.has(turnId))) return true;
  }
  return false;
}
