/** What a run that cannot go on is said to wait for, and by which command it gets that. */
import { waitingWords } from '../../../cli/waiting';
import type { RunView } from '../../../client';

const money: Extract<NonNullable<RunView['waitingFor']>, { kind: 'money' }> = {
  kind: 'money',
  since: '2026-11-30T10:00:00.000Z',
  resource: 'llm',
  quota: {
    ...{ scope: 'tenant', scopeId: 'acme', resourceType: 'llm', period: 'month' },
    ...{ limitUsd: '5', spentUsd: '4', reservedUsd: '0.5', remainingUsd: '0.5', estimatedUsd: '1' },
    resetsAt: '2026-12-01T00:00:00.000Z',
  },
};

test('a run that asks people says for how much, under which request, and what answers it', () => {
  const asks = { requestId: 'r1', askedUsd: '1.51', waitsUntil: '2026-12-03T10:00:00.000Z' };
  const said = waitingWords('acme', { ...money, asks }).join('\n');
  expect(said).toContain('the llm quota of tenant acme per month has $5.00, of which $4.00 is spent and $0.50 held');
  expect(said).toContain('asked for $1.51');
  expect(said).toContain('npx spendlock budget grant acme r1 --amount 1.51');
});

test('one that only waits says what for, and one that waits for a person whom to answer', () => {
  expect(waitingWords('acme', money).join('\n')).toContain('npx spendlock budget show acme');
  expect(
    waitingWords('acme', {
      kind: 'approval',
      since: money.since,
      approvals: [{ approvalId: 'a1', tool: 'weather', kind: 'approval' }],
    }),
  ).toContain('  npx spendlock approvals show acme a1');
  expect(waitingWords('acme', { kind: 'message', since: money.since })).toEqual([]);
  expect(waitingWords('acme', null)).toEqual([]);
});
