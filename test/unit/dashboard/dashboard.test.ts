import { axisDollars, difference, showLeft, showUsd, sum } from '../../../dashboard/money';
import { belowEachOther } from '../../../dashboard/tree';
import { placeOf, runAddress, tenantAddress } from '../../../dashboard/places';

describe('amounts as the dashboard shows them', () => {
  test.each([
    ['0', '$0'],
    ['0.000000000001', '$0.000000000001'],
    ['0.000493', '$0.000493'],
    ['0.0004931', '$0.000493'],
    ['0.0225', '$0.0225'],
    ['0.4', '$0.40'],
    ['0.5555', '$0.556'],
    ['1', '$1.00'],
    ['1234567.891', '$1,234,567.89'],
    ['-2.5', '−$2.50'],
  ])('%s is %s', (amount, shown) => {
    expect(showUsd(amount)).toBe(shown);
  });

  test.each([
    [0, '$0'],
    [0.0005, '$0.0005'],
    [12.5, '$12.5'],
    [50_000, '$50,000'],
    [150_000, '$150K'],
    [2_500_000, '$2.5M'],
    [800_000_000_000, '$800B'],
    [-250_000, '$-250K'],
  ])('%s has room on an axis as %s', (value, shown) => {
    expect(axisDollars(value)).toBe(shown);
    // As wide as the axis is.
    expect(shown.length).toBeLessThanOrEqual(8);
  });

  test.each([
    ['149.997692', '$149.99'],
    ['2.3', '$2.30'],
    ['0.048888', '$0.0488'],
    ['0', '$0'],
    ['-0.0055551', '−$0.00556'],
  ])('%s that is left is %s, never more than there is', (amount, shown) => {
    expect(showLeft(amount)).toBe(shown);
  });

  test('add up exactly', () => {
    expect(sum('0.1', '0.2')).toBe('0.3');
    expect(sum()).toBe('0');
    expect(difference('0.000000000003', '0.000000000001')).toBe('0.000000000002');
  });
});

test('parts of a tree stand right below what they belong to, and one without a parent there at the top', () => {
  const part = (runId: string, parentRunId: string | null = null) => ({ runId, parentRunId });
  const parts = [part('a'), part('b', 'a'), part('c', 'a'), part('d', 'b'), part('e', 'gone')];
  expect(belowEachOther(parts).map(({ runId, depth }) => [runId, depth])).toEqual([
    ['a', 0],
    ['b', 1],
    ['d', 2],
    ['c', 1],
    ['e', 0],
  ]);
});

describe('places of the dashboard', () => {
  test('have addresses that lead back to them', () => {
    expect(placeOf(tenantAddress('a.b-c'))).toEqual({ name: 'tenant', tenantId: 'a.b-c' });
    expect(placeOf(runAddress('a', '1-2'))).toEqual({ name: 'run', tenantId: 'a', runId: '1-2' });
  });
  test.each(['', '#/', '#/nowhere', '#/tenants/'])('%j is the list of tenants', (hash) => {
    expect(placeOf(hash)).toEqual({ name: 'tenants' });
  });
});
