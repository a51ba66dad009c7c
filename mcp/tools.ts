/** What an agent may ask for over MCP. Each tool is one request of the API, made with the caller's own key. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';

/** A request of the API. */
export interface ApiRequest {
  method: 'GET' | 'POST';
  path: string;
  body?: object;
}

/** A tool: what a model is told of it, what it takes, and what it asks of the API. */
export interface Tool<S extends z.ZodObject = z.ZodObject> {
  name: string;
  title: string;
  description: string;
  input: S;
  /** Whether it changes nothing. */
  readOnly: boolean;
  request: (asked: z.output<S>) => ApiRequest;
}

const tool = <S extends z.ZodObject>(one: Tool<S>): Tool => one;

const usd = z.string().describe('US dollars as a decimal string, such as "0.25"');
const operationId = z.uuid().describe('The operationId that reserve_money answered with');
const who = {
  tenantId: z.string().optional().describe('Only with a key of the administration: whose money it is'),
  userId: z.string().optional().describe('On whose account within the tenant, where users have limits'),
};
const ofOperation = { operationId, tenantId: who.tenantId };
const resource = z
  .string()
  .default('llm')
  .describe('What it is billed as: llm for model calls, e2b for sandboxes, or another by name, such as geocoding');

const labels = z
  .record(z.string(), z.string())
  .optional()
  .describe('What its cost is for, such as {"team": "search"}: limits of labels bind it too');

const to = (id: string, verb: string): string => `/v1/reservations/${encodeURIComponent(id)}/${verb}`;

/** A path with what is named in its query. */
function withQuery(path: string, named: Record<string, string | undefined>): string {
  const said = Object.entries(named).filter((one): one is [string, string] => one[1] !== undefined);
  const query = new URLSearchParams(said).toString();
  return query === '' ? path : `${path}?${query}`;
}

export const tools: readonly Tool[] = [
  tool({
    name: 'money_left',
    title: 'What is left',
    description:
      'Tells what is left of each limit of the tenant, the user and the labels: limit, spent, reserved, remaining and when its period ends. A call has to fit those of its resource and those of all. Nothing is reserved.',
    input: z.strictObject({ ...who, resource, labels }),
    readOnly: true,
    request: (asked) => ({ method: 'POST', path: '/v1/quota-checks', body: asked }),
  }),
  tool({
    name: 'call_cost',
    title: 'What a call would cost',
    description:
      'Tells what a model call costs at most by the price list, and whether that much is left. Nothing is reserved. Count input tokens high: what is not known is at most one token a byte.',
    input: z.strictObject({
      ...who,
      labels,
      model: z.string().describe('The model as its provider calls it'),
      inputTokens: z.int().min(0),
      maxOutputTokens: z.int().min(0),
    }),
    readOnly: true,
    request: ({ model, inputTokens, maxOutputTokens, ...of }) => ({
      method: 'POST',
      path: '/v1/quota-checks',
      body: { ...of, resource: 'llm', call: { model, inputTokens, maxOutputTokens } },
    }),
  }),
  tool({
    name: 'reserve_money',
    title: 'Reserve money',
    description:
      'Reserves money for one paid call before it is made. Make the call only when it is granted, spend no more than grantedUsd, then say what it cost with commit_cost, or give it back with release_money. It is held for ttlSeconds; what is never told is charged then. Work of many calls that must not stop in the middle reserves an envelope first, and each call as a part of it.',
    input: z.strictObject({
      ...who,
      resource,
      amountUsd: usd.describe('The most that the call may cost, in US dollars'),
      minimumUsd: usd.optional().describe('The least of use: with less than all left, that is granted'),
      ttlSeconds: z.number().min(1).max(604_800).optional().describe('How long it is held; 300 when absent'),
      onExpiry: z
        .enum(['release', 'settle'])
        .optional()
        .describe(
          'What running out without a word means: all of it is charged (settle, when absent), or nothing was billed (release). An envelope has none',
        ),
      envelope: z
        .boolean()
        .optional()
        .describe(
          'Reserves for what is to come: it is spent in parts, and given back with release_money. What is in it is denied to none of them',
        ),
      resources: z
        .array(z.string())
        .optional()
        .describe('Of an envelope: what its parts may be billed as, beside its resource'),
      parentOperationId: z
        .uuid()
        .optional()
        .describe(
          'The operationId of the envelope that this is a part of, for the same user, with the same labels, and of the same runId where it has one',
        ),
      kind: z.string().optional().describe('What the ledger calls it, such as "geocoding"'),
      model: z.string().optional().describe('What is called'),
      runId: z.uuid().optional().describe('The run that the call belongs to, whose limit binds it too'),
      labels,
      operationId: z
        .uuid()
        .optional()
        .describe('An id of your own for the call; asking again under it gets the same answer'),
    }),
    readOnly: false,
    request: ({ operationId: own = randomUUID(), ...asked }) => ({
      method: 'POST',
      path: '/v1/reservations',
      body: { operationId: own, ...(asked.envelope ? {} : { onExpiry: 'settle' }), ...asked },
    }),
  }),
  tool({
    name: 'commit_cost',
    title: 'Say what a call cost',
    description:
      'Records what a reserved call cost; what is left of its reservation is free again. Saying the same again changes nothing.',
    input: z.strictObject({
      ...ofOperation,
      costUsd: usd.describe('What the call cost, in US dollars; "0" where it was made and not billed'),
      usage: z.record(z.string(), z.unknown()).optional().describe('What it used, for the ledger'),
    }),
    readOnly: false,
    request: ({ operationId: id, ...outcome }) => ({ method: 'POST', path: to(id, 'commit'), body: outcome }),
  }),
  tool({
    name: 'release_money',
    title: 'Give a reservation back',
    description: 'Gives up a reservation whose call was not made, or surely not billed. Its money is free again.',
    input: z.strictObject(ofOperation),
    readOnly: false,
    request: ({ operationId: id, ...of }) => ({ method: 'POST', path: to(id, 'release'), body: of }),
  }),
  tool({
    name: 'show_reservation',
    title: 'Look at a reservation',
    description:
      'Shows a reservation as it stands: granted, denied and why, committed and at what cost, or given back.',
    input: z.strictObject(ofOperation),
    readOnly: true,
    request: ({ operationId: id, tenantId }) => ({
      method: 'GET',
      path: withQuery(`/v1/reservations/${encodeURIComponent(id)}`, { tenantId }),
    }),
  }),
  tool({
    name: 'money_requests',
    title: 'What people are asked for',
    description:
      'Lists what denied runs of the tenant ask people for and nobody has answered yet; with runId all that this run asked for, and how it was answered. It asks for nothing itself, and grants nothing.',
    input: z.strictObject({
      tenantId: who.tenantId,
      runId: z.uuid().optional().describe('Only what this run or conversation asked for, with what was answered'),
    }),
    readOnly: true,
    request: (asked) => ({ method: 'GET', path: withQuery('/v1/money-requests', asked) }),
  }),
];
