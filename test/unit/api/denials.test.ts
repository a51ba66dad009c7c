import { denialBody, denialEvents, quotaDetails } from '../../../api/http/denials';

const quota = {
  scope: 'user' as const,
  scopeId: 'ada',
  resourceType: 'all' as const,
  period: 'day' as const,
  limitUsd: '5',
  spentUsd: '1.25',
  reservedUsd: '3',
  remainingUsd: '0.75',
  estimatedUsd: '2',
  resetsAt: '2026-11-26T00:00:00.000Z',
};

describe('a denial', () => {
  test('has the quota’s details as numbers (C1)', () => {
    expect(quotaDetails(quota)).toEqual({
      scope: 'user',
      scopeId: 'ada',
      resourceType: 'all',
      limitUsd: 5,
      currentSpendUsd: 1.25,
      estimatedCostUsd: 2,
      remainingUsd: 0.75,
      period: 'day',
      utilizationPercent: 25,
    });
  });

  test('leaves out what is not known (C2)', () => {
    expect(denialBody({ message: 'no', resource: 'llm' })).toEqual({
      error: 'quota_exceeded',
      message: 'no',
      resourceType: 'llm',
    });
  });

  test('is an error and a done in a stream (C3)', () => {
    const body = denialBody({ message: 'no', resource: 'e2b', quota, retryAfterSeconds: 60 });
    expect(denialEvents(body)).toBe(
      `event: error\ndata: ${JSON.stringify(body)}\n\nevent: done\ndata: {"status":"quota_exceeded"}\n\n`,
    );
    expect(body).toMatchObject({ retryAfter: 60, resourceType: 'e2b' });
  });
});
