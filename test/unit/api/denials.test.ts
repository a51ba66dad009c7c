import { deniedAnswer, denialBody, denialEvents, quotaDetails } from '../../../api/http/denials';

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

  const held = { ...quota, spentUsd: '1', remainingUsd: '1', reservedUsd: '3' };
  const spent = { ...held, spentUsd: '4', reservedUsd: '0' };
  const ofLifetime = { period: 'lifetime', resetsAt: '9999-12-31T00:00:00.000Z' } as const;
  test.each([
    [
      'money that is only held',
      held,
      10,
      /^What is missing is only held, and may come back: ask again after 10 seconds/,
    ],
    [
      'money that is only held, nobody knows for how long',
      { ...held, ...ofLifetime },
      undefined,
      /ask again when it has/,
    ],
    ['a period', spent, 60, /^Ask again after 60 seconds, or raise the quota/],
    ['a lifetime', { ...spent, ...ofLifetime }, undefined, /^Ask for less, or raise the quota.*: it never resets[.]/],
    ['more than the limit', { ...spent, estimatedUsd: '9' }, undefined, /waiting does not help[.]/],
    [
      'a limit that is used up, of no known cost',
      { ...spent, spentUsd: '5', estimatedUsd: '0' },
      60,
      /^Ask again after/,
    ],
    ['the platform', { ...held, scope: 'platform' as const }, 10, /^Ask again after 10 seconds/],
  ])('says what to do about %s', (_what, of, retryAfterSeconds, action) => {
    const body = denialBody({ message: 'no', resource: 'llm', quota: of, retryAfterSeconds });
    expect(deniedAnswer(body, 'request').action).toMatch(action);
  });
});
