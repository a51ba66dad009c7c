import { leftUncovered, limitsCovered, toolsMoved, type CoveringQuota } from '../../../core/budget/covered';

const quota = (what: string, limitUsd: string, topupUsd = '0'): CoveringQuota => {
  const [scope = '', scopeId = '', resourceType = '', period = ''] = what.split(' ');
  const amounts = { limitUsd, topupUsd, spentUsd: '0', reservedUsd: '0' };
  return { scope, scopeId, resourceType, period, ...amounts } as CoveringQuota;
};

describe('a limit that another quota covers', () => {
  test.each<[what: string, covering: string, isCovered: boolean]>([
    ['tenant t llm month', 'tenant t all month', true],
    ['tenant t llm day', 'tenant t llm month', true],
    ['tenant t llm week', 'tenant t all lifetime', true],
    ['user u llm month', 'tenant t llm month', true],
    ['user u llm day', 'user u all day', true],
    ['tenant t llm week', 'tenant t llm month', false],
    ['tenant t llm month', 'tenant t e2b month', false],
    ['tenant t all month', 'tenant t llm month', false],
    ['tenant t llm month', 'tenant t llm day', false],
    ['tenant t llm month', 'user u llm month', false],
    ['user u llm month', 'user v llm month', false],
  ])('%s, by %s: %s', (what, covering, isCovered) => {
    expect(limitsCovered([quota(what, '5'), quota(covering, '4')])).toHaveLength(isCovered ? 1 : 0);
    expect(limitsCovered([quota(what, '5'), quota(covering, '4', '1')])).toEqual([]);
  });

  test('is told in words, where it is one of those that are asked about', () => {
    const quotas = [quota('user ada llm day', '5'), quota('tenant t all month', '4.50')];
    const words =
      'the llm quota of user ada per day allows 5 USD, and the all quota of the tenant per month, which covers it, 4.5 USD: no more than that can be spent.';
    expect(limitsCovered(quotas, ({ scope }) => scope === 'tenant')).toEqual([words]);
    expect(limitsCovered(quotas, ({ scopeId }) => scopeId === 'bob')).toEqual([]);
  });

  test('for everything, that its parts do not reach even together, is told of where it is the one that is set', () => {
    const parts = [quota('tenant t llm month', '100'), quota('tenant t e2b month', '50'), quota('user u llm day', '1')];
    const whole = quota('tenant t all month', '150.5');
    const words =
      'the all quota of the tenant per month allows 150.5 USD, but the llm quota of the tenant per month 100 USD and the e2b quota of the tenant per month 50 USD: no more than those can be spent on models and sandboxes.';
    expect(limitsCovered([whole, ...parts], (one) => one === whole)).toEqual([words]);
    expect(limitsCovered([whole, ...parts], (one) => one === parts[0])).toEqual([]);
    expect(limitsCovered([quota('tenant t all month', '150'), ...parts])).toEqual([]);
    expect(limitsCovered([quota('tenant t all lifetime', '500'), ...parts])).toEqual([]);
    expect(limitsCovered([whole, parts[0] as CoveringQuota])).toEqual([]);
  });

  test('for tools binds nothing where those of the tenant are under its limit for sandboxes', () => {
    const ofUser = quota('user u tool day', '1');
    const words =
      'the tool quota of user u per day binds nothing: the tools of a tenant that limits e2b, and neither tool nor all, are under that.';
    expect(limitsCovered([ofUser, quota('tenant t e2b month', '50')])).toEqual([words]);
    expect(limitsCovered([ofUser, quota('tenant t e2b month', '50'), quota('tenant t tool month', '50')])).toEqual([]);
  });

  test.each([
    [['e2b'], ['e2b', 'all'], 'billed as tool from now on, and no more as e2b: no limit for e2b'],
    [['e2b'], ['e2b', 'tool'], 'billed as tool from now on, and no more as e2b'],
    [['llm'], ['llm', 'e2b'], 'billed as e2b from now on, and no more as tool: no limit for tool'],
    [['all'], ['all', 'e2b'], undefined],
    [['e2b'], ['e2b', 'llm'], undefined],
  ])('of %j and then of %j says what tools are billed as from now on: %j', (before, after, words) => {
    const own = (of: string[]) => of.map((resource) => quota(`tenant t ${resource} month`, '5'));
    expect(toolsMoved(own(before), own(after))).toEqual(
      words === undefined ? [] : [expect.stringContaining(words) as string],
    );
  });
});

describe('what nothing covers any more', () => {
  const own = (...resources: string[]) =>
    resources.map((resourceType) => ({ scope: 'tenant' as const, scopeId: 'acme', resourceType }));
  const told: [before: string[], after: string[], says: RegExp[]][] = [
    [['all'], [], [/covers e2b any more: without/, /covers llm/, /covers tool/, /other names any more/]],
    [['all', 'llm', 'e2b'], ['llm', 'e2b'], [/other names any more/]],
    [['llm', 'search'], ['llm'], [/covers search any more: it is refused/]],
    // A tool is billed as e2b where that is limited, and not where it is not.
    [['e2b', 'tool'], ['e2b'], []],
    [['llm', 'e2b'], ['llm'], [/covers e2b/, /covers tool/]],
    [['all', 'llm'], ['all'], []],
    [['llm'], ['llm', 'all'], []],
  ];
  test.each(told)('of %j that became %j is told', (before, after, says) =>
    expect(leftUncovered(own(...before), own(...after))).toEqual(
      says.map((words): unknown => expect.stringMatching(words)),
    ),
  );
});
