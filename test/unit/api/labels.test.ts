/** Labels as a request's body brings them. */
import { labelsSchema } from '../../../api/http/labels';

describe('labels of a body', () => {
  test.each([
    ['a key that objects have by themselves', '{"__proto__":"x"}', 'keys of'],
    ['it beside another', '{"team":"search","__proto__":"x"}', 'keys of'],
    ['no object', '["team"]', 'an object'],
    ['nothing', 'null', 'an object'],
    ['a number', '{"team":1}', 'texts'],
    ['nine', `{${Array.from({ length: 9 }, (_, at) => `"k${at}":"v"`).join(',')}}`, 'at most 8'],
  ])('refuses %s, whole', (_what, text, says) => {
    const { error } = labelsSchema.safeParse(JSON.parse(text));
    expect(error?.issues.map(({ message }) => message)).toEqual([expect.stringContaining(says)]);
  });

  test('takes what is so as it is', () => {
    const labels = { team: 'search', 'cost-center': 'Größe ok' };
    expect(labelsSchema.parse(labels)).toEqual(labels);
    expect(labelsSchema.optional().parse(undefined)).toBeUndefined();
  });
});
