/** Who of those that wait for money would get it. */
import { whoFits } from '../../../core/budget/waiters';
import type { Standing } from '../../../core/budget/quotas';
import { parseUsd } from '../../../core/money';

describe('of those that wait for money', () => {
  const quota = (limitUsd: string): Standing => ({
    scope: 'tenant',
    scopeId: 'acme',
    resourceType: 'all',
    period: 'month',
    periodEndMs: Date.parse('2026-02-01'),
    limitUsd: parseUsd(limitUsd),
    spentUsd: 0n,
    reservedUsd: 0n,
  });
  const waiter = (name: string, neededUsd: string, more: object = {}) => ({
    name,
    resource: 'llm' as const,
    neededUsd: parseUsd(neededUsd),
    ...more,
  });
  const fit = (limitUsd: string, waiters: ReturnType<typeof waiter>[]): string[] =>
    whoFits([quota(limitUsd)], waiters).map(({ name }) => name);

  test('the first fit together, and what is too much for what is left holds up nobody', () => {
    const line = [waiter('first', '0.1'), waiter('large', '0.5'), waiter('third', '0.1'), waiter('fourth', '0.1')];
    expect(fit('0.2', line)).toEqual(['first', 'third']);
    expect(fit('1', line)).toEqual(['first', 'large', 'third', 'fourth']);
    expect(fit('0.05', line)).toEqual([]);
  });

  test('one that was woken and did not ask may still, and nothing is kept for it', () => {
    const line = [waiter('silent', '0.1', { isSilent: true }), waiter('next', '0.1'), waiter('third', '0.1')];
    expect(fit('0.1', line)).toEqual(['silent', 'next']);
  });
});
