/** Where a context is cut, and when a summary is worth its price. */
import { lastSummarised } from '../../../core/agent/compaction';

const message = (sequence: number, chars: number, callsTools = false) => ({ sequence, chars, callsTools });

describe('what a summary stands for', () => {
  test('is what the newest messages leave, and no call of a tool without its result', () => {
    const messages = [message(1, 400), message(2, 400, true), message(3, 400), message(4, 400)];
    // The newest may fill 30 of 100 tokens, some 120 characters: one stays at least.
    expect(lastSummarised(messages, 100)).toBe(3);
    expect(lastSummarised(messages.slice(0, 3), 100)).toBe(1);
    expect(lastSummarised([message(1, 4_000)], 100)).toBeUndefined();
  });

  test('is nothing where it would stand for less than a tenth of the limit: a file is what is long then', () => {
    const messages = [message(1, 1_000), message(2, 1_000), message(3, 20_000)];
    expect(lastSummarised(messages, 5_000)).toBe(2);
    expect(lastSummarised(messages, 5_001)).toBeUndefined();
  });
});
