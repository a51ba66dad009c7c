/** Labels: how they are spelled, which win, and what makes two requests the same. */
import fc from 'fast-check';
import { labelled, labelsFrom, labelsMax, mergedLabels, problemOfLabels, type Labels } from '../../../core/labels';
import { fittingLabels } from '../../../api/http/labels';
import { recordedAlike, sentAlike, unknownLabels } from '../../../core/labels';
import { readCommand } from '../../../core/inputs/read-command';
import { BudgetModel, reserve } from '../../support/budget-model';

const key = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,31}$/);
const value = fc
  .string({ minLength: 1, maxLength: 16, unit: 'grapheme' })
  .filter((text) => problemOfLabels({ a: text }) === undefined);
const few = fc.constantFrom('team', 'feature', 'customer');
const labels = (ofKey = key): fc.Arbitrary<Labels> =>
  fc.dictionary(ofKey, value, { maxKeys: 4, noNullPrototype: true });

describe('labels', () => {
  test.each([
    ['a text', 'search', 'must be an object of texts'],
    ['a list', ['search'], 'must be an object of texts'],
    ['nine', Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`k${at}`, 'v'])), 'must be at most 8'],
    ['a key with a capital', { Team: 'a' }, 'must have keys of'],
    ['a key that begins with a digit', { '1team': 'a' }, 'must have keys of'],
    ['a key with a colon', { 'team:a': 'b' }, 'must have keys of'],
    ['a key that is too long', { [`k${'x'.repeat(32)}`]: 'a' }, 'must have keys of'],
    ['a number', { team: 1 }, 'must have texts'],
    ['nothing in it', { team: '' }, 'must have texts'],
    ['a line break', { team: 'a\nb' }, 'must have texts'],
    ['a mark that turns text around', { team: 'a\u202eb' }, 'must have texts'],
    ['half a character', { team: 'a\ud83d' }, 'must have texts'],
    ['65 bytes', { team: 'x'.repeat(65) }, 'must have values of at most 64 bytes'],
    ['66 bytes in 22 characters', { team: '€'.repeat(22) }, 'must have values of at most 64 bytes'],
    ['what stands for all others', { team: 'other' }, 'must not have the value other'],
  ])('of %s are refused, in words that quote nothing', (_what, given, problem) => {
    expect(problemOfLabels(given)).toMatch(problem);
    expect(labelsFrom(given)).toBeUndefined();
    expect(readCommand({ ...reserve('0b6c2a52-6d0a-4b52-9c1e-2f6a52a1b7c4', '1'), labels: given })).toMatchObject({
      problem: 'its labels cannot be used',
    });
  });

  test('are taken up to their bounds', () => {
    const most = Object.fromEntries(Array.from({ length: labelsMax }, (_, at) => [`k${at}_.-`, '😀'.repeat(16)]));
    expect(problemOfLabels(most)).toBeUndefined();
    expect(labelsFrom(most)).toBe(most);
    expect(labelsFrom(null)).toBeUndefined();
  });

  test('of a request win over inherited ones, the later over the earlier, key by key', () => {
    fc.assert(
      fc.property(fc.array(fc.option(labels(few), { nil: undefined }), { maxLength: 4 }), (from) => {
        const merged = mergedLabels(...from) ?? {};
        for (const name of new Set(from.flatMap((one) => Object.keys(one ?? {}))))
          expect(merged[name]).toBe(from.filter((one) => one && name in one).at(-1)?.[name]);
        expect(Object.keys(merged).every((name) => from.some((one) => one && name in one))).toBe(true);
      }),
    );
  });

  test('that are too many together stay as far as they fit, those nearest to the call first', () => {
    fc.assert(
      fc.property(fc.array(fc.option(labels(), { nil: undefined }), { maxLength: 5 }), (from) => {
        const all = mergedLabels(...from) ?? {};
        const kept = fittingLabels(...from) ?? {};
        expect(Object.keys(kept)).toHaveLength(Math.min(labelsMax, Object.keys(all).length));
        for (const [name, text] of Object.entries(kept)) expect(all[name]).toBe(text);
        for (const name of Object.keys(from.at(-1) ?? {})) expect(kept).toHaveProperty([name]);
      }),
    );
    const five = (prefix: string): Labels => Object.fromEntries([1, 2, 3, 4, 5].map((at) => [`${prefix}${at}`, 'v']));
    const kept = Object.keys(fittingLabels(five('far'), five('near')) ?? {}).sort();
    expect(kept).toEqual(['far1', 'far2', 'far3', 'near1', 'near2', 'near3', 'near4', 'near5']);
  });

  test('make two requests the same by what was sent, whatever each inherits', () => {
    const optional = fc.option(labels(few), { nil: undefined });
    fc.assert(
      fc.property(optional, optional, optional, optional, (sent, inherited, othersSent, othersInherited) => {
        const [one, other] = [labelled(sent, inherited), labelled(othersSent, othersInherited)];
        const isSame = JSON.stringify(sorted(sent)) === JSON.stringify(sorted(othersSent));
        expect(sentAlike(one, other)).toBe(isSame);
        expect(sentAlike(other, one)).toBe(isSame);
        expect(recordedAlike(one, other)).toBe(isSame);
        expect(one.labels).toEqual(mergedLabels(inherited, sent));
        // A row of the version before is of whoever asks again; one of this version without any is not.
        expect(recordedAlike({ labels: unknownLabels }, other)).toBe(true);
      }),
    );
  });
});

const sorted = (one: Labels = {}): [string, string][] => Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1));

describe('a reserve with labels', () => {
  const search = { team: 'search' };
  let model: BudgetModel;
  beforeEach(() => {
    model = new BudgetModel(Date.UTC(2026, 10, 29), [{ limitUsd: '10' }]);
  });
  const told = (...commands: Parameters<BudgetModel['decide']>): string[] =>
    model.decide(...commands).answers.map((answer) => (answer && 'code' in answer ? answer.code : answer!.decision));

  test('is on record with them, granted or refused, and its repeat is told the same', () => {
    const asked = [reserve('a', '1', { labels: search }), reserve('b', '20', { labels: search })];
    expect(told(...asked, ...asked)).toEqual(['granted', 'denied', 'granted', 'denied']);
    for (const id of ['a', 'b']) expect(model.reservations.get(id)?.request?.labels).toEqual(search);
  });

  test('is another where other ones were sent, and the same where only what it inherits is another', () => {
    const inheriting = { labels: { ...search, key: 'one' }, sentLabels: search };
    expect(told(reserve('a', '1', inheriting))).toEqual(['granted']);
    expect(told(reserve('a', '1', { labels: { ...search, key: 'two' }, sentLabels: search }))).toEqual(['granted']);
    expect(told(reserve('a', '1', { labels: search }))).toEqual(['granted']);
    for (const other of [
      {},
      { labels: { team: 'ads' } },
      { labels: inheriting.labels },
      { labels: search, sentLabels: {} },
    ])
      expect(told(reserve('a', '1', other))).toEqual(['operation_conflict']);
    expect(model.reservations.get('a')?.request).toMatchObject(inheriting);
  });
});
