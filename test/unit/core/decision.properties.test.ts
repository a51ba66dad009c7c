/**
 * Random histories of a tenant: commands in any order, more than once and with their ids in any spelling, claims and
 * outcomes in between, time passing over the ends of periods. SPENDLOCK_TEST_SEED repeats a run.
 */
import fc from 'fast-check';
import type { BatchDecision } from '../../../core/budget/batch';
import type { BudgetCommand, ReserveCommand } from '../../../core/budget/commands';
import { decideBatch } from '../../../core/budget/decision';
import { parseUuid } from '../../../core/ids';
import type { Labelled } from '../../../core/labels';
import { sumUsd, type Usd } from '../../../core/money';
import { covers, isOf } from '../../../core/budget/quotas';
import { isEnvelope } from '../../../core/budget/reservations';
import { resourceAsked } from '../../../core/resources';
import { BudgetModel, commit, release, reserve, usd } from '../../support/budget-model';
import { spellingOf, spellingsOf } from '../../support/spellings';

const seed = Number(process.env.SPENDLOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const operationIds = Array.from({ length: 8 }, (_, index) => `abcdef0${index}-aaaa-4bbb-8ccc-ddddddddddd${index}`);
const amounts = ['0', '0.000000000001', '0.5', '1', '3', '7.25', '20'];
const users = [undefined, 'ada', 'bob'];
const labelSets: Labelled[] = [
  {},
  { labels: { team: 'search' } },
  { labels: { team: 'ads', key: 'a' }, sentLabels: { team: 'ads' } },
];
const resources = ['llm', 'e2b', 'tool', 'geocoding'];
const runs = ['root', 'child', 'grandchild', 'sibling', 'alone'];

const operation = fc.constantFrom(...operationIds);
/** What commands name; rows have the one spelling. */
const spelled = operation.chain(spellingOf);
const amount = fc.constantFrom(...amounts);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('reserve' as const),
      operation: spelled,
      again: fc.nat(7),
      amount,
      minimum: fc.option(amount),
      user: fc.constantFrom(...users),
      run: fc.constantFrom(undefined, ...runs, 'unknown'),
      resource: fc.constantFrom(...resources),
      isTool: fc.boolean(),
      ttl: fc.constantFrom(1, 60, 86_400),
      /** Of what else it is an envelope. */
      envelope: fc.option(fc.subarray(resources), { freq: 3 }),
      parent: fc.option(operation, { freq: 2 }),
      orBeyond: fc.boolean(),
      labels: fc.constantFrom(...labelSets),
      othersLabels: fc.constantFrom(...labelSets),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('commit' as const, 'release' as const), operation: spelled }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('extend' as const), operation, ttl: fc.constantFrom(1, 3600) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('claim' as const), operation }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('outcome' as const), operation, cost: fc.option(amount) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      seconds: fc.constantFrom(0, 1, 59, 3600, 86_400, 7 * 86_400, 31 * 86_400),
    }),
  },
);
/** A forest of runs: each belongs to none or to one before it. */
const forest = fc.tuple(
  ...runs.map((runId, index) =>
    fc.record({
      runId: fc.constant(runId),
      limitUsd: fc.option(fc.constantFrom('0', '3', '10', '100'), { nil: undefined }),
      parentId: fc.constantFrom(undefined, ...runs.slice(0, index)),
    }),
  ),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const scopes = [
  { scope: 'platform', scopeId: 'platform' },
  { scope: 'tenant', scopeId: 'acme' },
  { scope: 'user', scopeId: 'ada' },
  { scope: 'label', scopeId: 'team:search' },
  { scope: 'label', scopeId: 'team:ads' },
  { scope: 'label', scopeId: 'key:a' },
] as const;
const quota = fc.record({
  where: fc.constantFrom(...scopes),
  resourceType: fc.constantFrom(...resources, 'all'),
  period: fc.constantFrom('day' as const, 'week' as const, 'month' as const),
  limitUsd: fc.constantFrom('0', '5', '10', '100'),
  topUps: fc.array(
    fc.record(
      {
        amountUsd: fc.constantFrom('1', '3', '7.25'),
        expiresAfterMs: fc.constantFrom(60_000, 3_600_000, 8 * 86_400_000),
      },
      { requiredKeys: ['amountUsd'] },
    ),
    { maxLength: 3 },
  ),
});

/** A tenant of whom limits are watched: what is decided is the same as if they were not there. */
class WatchedModel extends BudgetModel {
  override decide(...commands: BudgetCommand[]): BatchDecision {
    const { shadows: _, ...unwatched } = decideBatch({ ...this.state(), shadows: [] }, commands);
    const { shadows, alerts, ...decision } = super.decide(...commands);
    const binding = alerts.filter((alert) => !alert.quota.isShadow);
    expect({ ...decision, alerts: binding }).toEqual(unwatched);
    return { ...decision, shadows, alerts };
  }
}

const limitsIn = ({ quotas, runLimits }: BudgetModel) => [
  ...quotas.map((one) => ({ ...one, name: one.quotaId, limitUsd: one.limitUsd })),
  ...runLimits.map((one) => ({ ...one, name: one.runId, limitUsd: one.limitUsd })),
];
const heldBy = (model: BudgetModel): Map<string, Usd> =>
  new Map(limitsIn(model).map(({ name, spentUsd, reservedUsd }) => [name, spentUsd + reservedUsd]));

/** Whether a run is another, or belongs to it, by its parents alone. */
const isWithin = (parents: ReadonlyMap<string, string | undefined>, runId: string, other: string): boolean => {
  for (let at: string | undefined = runId; at !== undefined; at = parents.get(at)) if (at === other) return true;
  return false;
};

/** The books of each run: what it and those that belong to it asked for, hold and spent. */
function checkRuns(
  model: BudgetModel,
  parents: ReadonlyMap<string, string | undefined>,
  askedFor: ReadonlyMap<string, string>,
): void {
  for (const { runId, spentUsd, reservedUsd } of model.runLimits) {
    const mine = [...model.reservations.values()].filter(({ operationId, request }) => {
      const asker = askedFor.get(operationId);
      // What an envelope holds counts for no run: its parts do.
      return (
        request && !isEnvelope(request) && asker !== undefined && parents.has(asker) && isWithin(parents, asker, runId)
      );
    });
    const ids = new Set(mine.map(({ operationId }) => operationId));
    const open = mine.filter(({ status }) => status === 'granted').map(({ grantedUsd = 0n }) => grantedUsd);
    expect(reservedUsd).toBe(sumUsd(open));
    const lines = model.ledger.filter(({ operationId }) => ids.has(operationId)).map(({ amountUsd }) => amountUsd);
    expect(spentUsd).toBe(sumUsd(lines));
  }
}

/** Does one step, twice when it is a command, and checks what must hold after it. */
function act(model: BudgetModel, asked: Step): void {
  switch (asked.do) {
    case 'wait':
      model.nowMs += asked.seconds * 1000;
      model.decide();
      return;
    case 'claim':
      model.claim(asked.operation);
      return;
    case 'extend':
      model.extend(asked.operation, asked.ttl);
      return;
    case 'outcome':
      model.outcome(
        asked.operation,
        asked.cost === null ? { billed: false } : { billed: true, costUsd: usd(asked.cost) },
      );
      return;
    case 'reserve': {
      // What time and outcomes free is settled apart, so that what a grant does can be told from what they do.
      model.decide();
      const heldBefore = heldBy(model);
      const known = model.reservations.has(parseUuid(asked.operation) ?? '');
      const command = reserve(asked.operation, asked.amount, {
        resource: asked.resource,
        ttlSeconds: asked.ttl,
        ...(asked.minimum === null ? {} : { minimumUsd: asked.minimum }),
        ...(asked.user === undefined ? {} : { userId: asked.user }),
        ...(asked.run === undefined ? {} : { runLimit: { id: asked.run } }),
        ...(asked.labels as object),
        // As who has a tool sends it to processes of the version before.
        ...(asked.isTool && asked.resource === 'e2b' ? { isTool: true } : {}),
        ...envelopeOf(asked),
      });
      const room = roomFor(model, command);
      const first = model.decide(command);
      // What is in an envelope is denied for no want of money.
      if (room && !known) expect(first.answers[0]).toMatchObject({ decision: 'granted', partial: false });
      checkBill(model, asked, known);
      const heldAfter = heldBy(model);
      for (const { name, limitUsd } of limitsIn(model)) {
        const held = heldAfter.get(name) ?? 0n;
        // A grant never lifts spent + reserved above a limit.
        if (held > (heldBefore.get(name) ?? 0n)) expect(limitUsd === undefined || held <= limitUsd).toBe(true);
      }
      const balances = JSON.stringify([model.quotas, model.runLimits], text);
      const spelling = spellingsOf(parseUuid(asked.operation) ?? '')[asked.again] ?? asked.operation;
      const again = model.decide({ ...command, operationId: spelling });
      expect(again.answers).toEqual(first.answers);
      expect(again.changes).toEqual([]);
      expect(JSON.stringify([model.quotas, model.runLimits], text)).toBe(balances);
      checkLabels(model, command, asked.othersLabels);
      return;
    }
    default: {
      const command = asked.do === 'commit' ? commit(asked.operation) : release(asked.operation);
      model.decide(command);
      const again = model.decide(command);
      expect(again.changes).toEqual([]);
      expect(again.ledger).toEqual([]);
    }
  }
}

/** An envelope, a part of one, or neither. */
function envelopeOf({
  envelope,
  parent,
  orBeyond,
  resource,
  isTool,
}: Step & { do: 'reserve' }): Partial<ReserveCommand> {
  const own = isTool && resource === 'e2b' ? 'tool' : resource;
  if (envelope) return { envelopeOf: [...new Set([own, ...envelope])] };
  return parent === null ? {} : { parentOperationId: parent, ...(orBeyond ? { orBeyond } : {}) };
}

/** Whether all that a part asks for is in its envelope, and no limit of a run refuses it. */
function roomFor(model: BudgetModel, command: ReserveCommand): boolean {
  const { parentOperationId = '', userId, labels, runLimit, amountUsd, minimumUsd } = command;
  const { request, status, grantedUsd = 0n } = model.reservations.get(parentOperationId) ?? {};
  if (!request || status !== 'granted' || runLimit || !isEnvelope(request)) return false;
  if (minimumUsd !== undefined && usd(minimumUsd) > usd(amountUsd)) return false;
  const isOfPayer = request.userId === userId && JSON.stringify(request.labels) === JSON.stringify(labels);
  return isOfPayer && request.heldOn?.includes(resourceAsked(command)) === true && grantedUsd >= usd(amountUsd);
}

/** The books of each envelope: its rest is what it was granted less what its parts took and did not give back. */
function checkEnvelopes(model: BudgetModel): void {
  const all = [...model.reservations.values()];
  for (const { operationId, request, envelopeUsd, grantedUsd = 0n } of all) {
    if (!request || !isEnvelope(request) || envelopeUsd === undefined) continue;
    const parts = all.filter((part) => part.request?.parentId === operationId && part.grantedUsd !== undefined);
    const taken = parts.map((part) => (part.grantedUsd ?? 0n) - (part.returnedUsd ?? 0n));
    expect(grantedUsd).toBe(envelopeUsd - sumUsd(taken));
    expect(grantedUsd >= 0n).toBe(true);
    for (const part of parts) expect(part.request).toMatchObject({ heldOn: request.heldOn, userId: request.userId });
  }
}

/** What a request has to be billed as, and that no name is opened but by its tenant. */
function checkBill(model: BudgetModel, asked: Step & { do: 'reserve' }, known: boolean): void {
  const recorded = model.reservations.get(parseUuid(asked.operation) ?? '');
  if (known || !recorded?.request) return;
  const isTool = asked.resource === 'tool' || (asked.isTool && asked.resource === 'e2b');
  const of = (...whose: string[]): string[] =>
    model.quotas.filter(({ scopeId }) => whose.includes(scopeId)).map(({ resourceType }) => resourceType);
  const isOfSandboxes = (limited: string[]): boolean =>
    limited.includes('e2b') && !limited.some((resource) => ['tool', 'all'].includes(resource));
  const those = [of('acme'), of('acme', 'platform', asked.user ?? 'acme')];
  expect(recorded.request.resource).toBe(!isTool ? asked.resource : those.some(isOfSandboxes) ? 'e2b' : 'tool');
  if (recorded.status === 'granted' && asked.resource === 'geocoding')
    expect(of('acme').some((resource) => ['geocoding', 'all'].includes(resource))).toBe(true);
}

/** The row has the labels of who was decided, and whoever sends others asks for something else. */
function checkLabels(
  model: BudgetModel,
  { labels: _, sentLabels: __, ...command }: ReserveCommand,
  others: Labelled,
): void {
  const recorded = () => model.reservations.get(parseUuid(command.operationId) ?? '')?.request;
  const sentIn = ({ labels, sentLabels = labels }: Labelled): unknown => JSON.stringify(sentLabels);
  const before = recorded();
  const [told] = model.decide({ ...command, ...(others as object) }).answers;
  if (before && sentIn(before) !== sentIn(others)) expect(told?.decision).toBe('rejected');
  expect(JSON.stringify(recorded(), text)).toBe(JSON.stringify(before, text));
}

const text = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

function checkBooks(model: BudgetModel): void {
  const all = [...model.reservations.values()];
  for (const one of [...model.quotas, ...model.shadows]) {
    const mine = all.filter(({ request }) => request && covers(one, request));
    const open = sumUsd(mine.filter(({ status }) => status === 'granted').map(({ grantedUsd = 0n }) => grantedUsd));
    expect(one.reservedUsd).toBe(open);
    expect(one.reservedUsd >= 0n).toBe(true);
    const entries = model.ledger.filter(
      ({ operationId, postedAtMs }) =>
        mine.some(({ operationId: id, request }) => id === operationId && request && isOf(one, request.resource)) &&
        postedAtMs >= one.periodStartMs &&
        postedAtMs < one.periodEndMs,
    );
    expect(one.spentUsd).toBe(sumUsd(entries.map(({ amountUsd }): Usd => amountUsd)));
  }
}

describe('whatever happens to a tenant', () => {
  test('balances equal reservations and ledger, no grant passes a limit, each reservation ends once, a repeat changes nothing', () => {
    process.stdout.write(`decision properties: seed ${seed}\n`);
    fc.assert(
      fc.property(
        fc.array(quota, { minLength: 1, maxLength: 5 }),
        fc.array(quota, { maxLength: 3 }),
        forest,
        fc.array(step, { maxLength: 60 }),
        (quotas, shadows, trees, steps) => {
          const watched = shadows.map((one) => ({ ...one, isShadow: true as const }));
          const model = new WatchedModel(
            Date.UTC(2026, 0, 30, 22),
            [...quotas, ...watched].map(({ where, ...rest }) => ({ ...where, ...rest })),
          );
          for (const { runId, limitUsd, parentId } of trees) model.addRunLimit(runId, limitUsd, parentId);
          const parents = new Map(trees.map(({ runId, parentId }) => [runId, parentId]));
          const askedFor = new Map<string, string>();
          const ended = new Map<string, string>();
          for (const one of steps) {
            const id = 'operation' in one ? (parseUuid(one.operation) ?? '') : '';
            const isNew = !model.reservations.has(id);
            act(model, one);
            // The first that is decided under an id is the one that counts.
            if (one.do === 'reserve' && one.run !== undefined && isNew && model.reservations.has(id))
              askedFor.set(id, one.run);
            checkBooks(model);
            checkEnvelopes(model);
            checkRuns(model, parents, askedFor);
            for (const { operationId, status } of model.reservations.values()) {
              const end = ended.get(operationId);
              if (end !== undefined) expect(status).toBe(end);
              else if (status !== 'granted') ended.set(operationId, status);
            }
          }
          expect([...model.reservations.keys()].filter((id) => !operationIds.includes(id))).toEqual([]);
          // A watched limit tells at most once a period that it would have refused, and of each threshold.
          const told = model.alerts.filter(({ quota: of, kind }) => of.isShadow && kind !== 'overrun');
          const names = told.map(({ kind, quota: of }) => [kind, of.quotaId, of.periodStartMs].join(' '));
          expect(new Set(names).size).toBe(names.length);
          // Each operation has at most one commit in the ledger.
          const commits = model.ledger.filter(({ entry }) => entry === 'commit').map(({ operationId }) => operationId);
          expect(new Set(commits).size).toBe(commits.length);
          for (const { operationId, committedUsd, status } of model.reservations.values()) {
            if (status !== 'committed') continue;
            const entries = model.ledger.filter((entry) => entry.operationId === operationId);
            expect(sumUsd(entries.map(({ amountUsd }) => amountUsd))).toBe(committedUsd);
          }
        },
      ),
      { seed, numRuns: Number(process.env.SPENDLOCK_TEST_RUNS ?? 1500) },
    );
  });
});
