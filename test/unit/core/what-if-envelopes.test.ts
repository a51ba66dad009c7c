/** Envelopes and their parts, played once more: also where limits did not bind all that an envelope is for. */
import type { ReserveCommand } from '../../../core/budget/commands';
import { commit, release, reserve, usd, type QuotaSpec } from '../../support/budget-model';
import { begin, idOf, play, RecordedModel } from '../../support/recorded-model';

const [envelopeId, partId, otherId] = [1, 2, 3].map(idOf) as [string, string, string];
const envelope = (amountUsd: string, envelopeOf: string[], id = envelopeId): ReserveCommand =>
  reserve(id, amountUsd, { resource: 'all', ofResource: envelopeOf[0] as string, envelopeOf });
const part = (id: string, amountUsd: string, more: Partial<ReserveCommand> = {}): ReserveCommand =>
  reserve(id, amountUsd, { resource: 'all', ofResource: 'llm', parentOperationId: envelopeId, ...more });

/** The whole record is reproduced, and each balance is as it was. */
function expectReproduced(model: RecordedModel, quotas: readonly QuotaSpec[], same: number): void {
  const { player, found } = play(begin(...quotas), model.record);
  expect(found).toEqual([]);
  expect(player.same).toBe(same);
  const sums = ({ spentUsd, reservedUsd }: { spentUsd: bigint; reservedUsd: bigint }) => [spentUsd, reservedUsd];
  expect(player.standing().map(sums)).toEqual(model.quotas.map(sums));
}

function spend(model: RecordedModel, id: string, costUsd: string): void {
  model.claim(id);
  model.outcome(id, { billed: true, costUsd: usd(costUsd) });
  model.decide(commit(id));
}

describe('an envelope that is played once more', () => {
  test('where limits did not bind it: its parts are reproduced, and nothing of it stays reserved', () => {
    const quotas = [{ limitUsd: '1' }];
    const model = new RecordedModel(quotas);
    model.enforced = { llm: false, e2b: false };
    model.decide(envelope('10', ['llm']));
    model.decide(part(partId, '2'));
    expectReproduced(model, quotas, 1);
    spend(model, partId, '2');
    model.decide(release(envelopeId));
    expect(model.balance()).toEqual({ spentUsd: usd('2'), reservedUsd: 0n });
    expectReproduced(model, quotas, 1);
  });

  test.each([
    ['sandboxes', { llm: true, e2b: false }],
    ['models', { llm: false, e2b: true }],
  ])('over two resources, where the limits of %s did not bind: by the limits of the other', (_, enforced) => {
    const [bound, free] = enforced.llm ? ['llm', 'e2b'] : ['e2b', 'llm'];
    const quotas = [
      { resourceType: bound, limitUsd: '10' },
      { resourceType: free, limitUsd: '1' },
    ];
    const model = new RecordedModel(quotas);
    model.enforced = enforced;
    const { answers } = model.decide(envelope('8', ['llm', 'e2b']), envelope('8', ['llm', 'e2b'], otherId));
    expect(answers).toMatchObject([{ decision: 'granted' }, { decision: 'denied', quota: { resourceType: bound } }]);
    model.decide(part(partId, '3', { ofResource: 'llm' }));
    spend(model, partId, '2');
    expectReproduced(model, quotas, 3);
    model.decide(release(envelopeId));
    expectReproduced(model, quotas, 3);
    // A limit that is tried binds where limits did, and not where they did not.
    const tried = { scope: 'tenant', scopeId: 'acme', period: 'month', limitUsd: usd('5') } as const;
    expect(play(begin(...quotas), model.record, [{ ...tried, resourceType: bound }]).found).toMatchObject([
      // Alone: what its part would not have got is of the same money.
      { request: { operationId: envelopeId }, grantedUsd: undefined, quota: { resourceType: bound } },
    ]);
    expect(play(begin(...quotas), model.record, [{ ...tried, resourceType: free }]).found).toEqual([]);
  });
});
