import { answerInWords, lackOf, leftOfAll, liftsFor } from '../../../core/budget/money-requests';
import { readMoneyAnswer } from '../../../core/inputs/read-signals';
import { formatUsd, parseUsd } from '../../../core/money';

const balance = (limit: string, spent = '0', reserved = '0') => ({
  limitUsd: parseUsd(limit),
  spentUsd: parseUsd(spent),
  reservedUsd: parseUsd(reserved),
});

describe('what a denied step asks for', () => {
  test.each([
    // What is left, all of the step, the least that it can use: what that lacks, and what is asked for.
    ['0', '1', '0.25', '0.25', '2'],
    ['0.5', '1', '0.75', '0.25', '1.5'],
    ['0.001', '0.02', '0.001', '0', '0.04'],
    ['-3', '1', '1', '4', '5'],
    ['5', '1', '1', '0', '0.01'],
    ['0', '0.0001', '0.0001', '0.0001', '0.01'],
  ])('with $%s left, a step of $%s that can use $%s lacks $%s and asks for $%s', (left, all, least, lacks, asks) => {
    const lack = lackOf(parseUsd(left), { amountUsd: parseUsd(all), leastUsd: parseUsd(least) });
    expect([formatUsd(lack.lacksUsd), formatUsd(lack.askedUsd)]).toEqual([lacks, asks]);
  });

  test('a grant lifts each limit that stands in the way of it by what it lacks, and no other', () => {
    const limits = [balance('10', '9', '2'), balance('5', '4'), balance('100')];
    const lifts = liftsFor(limits, parseUsd('3'));
    expect(lifts.map(({ limit, byUsd }) => [limits.indexOf(limit), formatUsd(byUsd)])).toEqual([
      [0, '3'],
      [1, '1'],
    ]);
    const lifted = limits.map((limit) => ({
      ...limit,
      limitUsd: limit.limitUsd + (lifts.find((one) => one.limit === limit)?.byUsd ?? 0n),
    }));
    expect(leftOfAll(lifted) - leftOfAll(limits)).toBe(parseUsd('3'));
    expect(liftsFor([], parseUsd('3'))).toEqual([]);
  });

  test('an answer reads as what it was', () => {
    const one = { grantedUsd: '2', reason: null, decidedBy: 'Jo' };
    expect(answerInWords({ status: 'granted', ...one })).toBe('Jo granted $2.');
    expect(answerInWords({ status: 'refused', ...one, reason: 'enough' })).toBe('Jo refused: enough.');
    expect(answerInWords({ status: 'expired', ...one })).toBe('Nobody answered in time.');
  });
});

describe('an answer by signal', () => {
  const requestId = '0b7a3b8d-2a8e-4b8e-8f0e-0d6d9a1f9c11';

  test('is read as it is meant, under any spelling of its id', () => {
    const said = { decision: 'grant', amountUsd: '2.5', expiresAt: '2027-01-08T18:00Z', decidedBy: 'Jo' };
    expect(readMoneyAnswer({ requestId: requestId.toUpperCase(), ...said })).toEqual({ requestId, ...said });
    expect(readMoneyAnswer({ requestId, decision: 'refuse', reason: null })).toEqual({ requestId, decision: 'refuse' });
  });

  test.each([
    ['nothing', undefined, 'object'],
    ['no id', { decision: 'grant' }, 'requestId'],
    ['another word', { requestId, decision: 'yes' }, 'decision'],
    ['no amount', { requestId, decision: 'grant', amountUsd: '-1' }, 'amountUsd'],
    ['an amount of nothing', { requestId, decision: 'grant', amountUsd: '0' }, 'amountUsd'],
    ['a number', { requestId, decision: 'grant', amountUsd: 2 }, 'amountUsd'],
    ['no moment', { requestId, decision: 'grant', expiresAt: 'tomorrow' }, 'expiresAt'],
  ])('that is %s is refused in words', (_, given, field) => {
    expect(readMoneyAnswer(given)).toEqual({ problem: expect.stringContaining(field) as string });
  });
});
