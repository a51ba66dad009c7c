/** When a model is told of its money. */
import { toldLevel } from '../../../core/agent/last-call';
import { parseUsd } from '../../../core/money';

test.each([
  ['2', 0],
  ['1.000000000001', 0],
  ['1', 50],
  ['0.400000000001', 50],
  ['0.4', 80],
  ['0', 80],
  // What a call cost beyond its grant.
  ['-0.1', 80],
])('with $%s of $2 left it is told that %d percent are used up', (left, level) => {
  expect(toldLevel({ limitUsd: parseUsd('2'), leftUsd: parseUsd(left) })).toBe(level);
});
