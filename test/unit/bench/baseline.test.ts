import { compare } from '../../../scripts/bench/baseline';

describe('the regression report', () => {
  const calibration = { processorMs: 100, databaseMs: 50 };
  const baseline = {
    calibration,
    figures: {
      'step.budgeted_ms': { value: 20, unit: 'ms', ratio: 0.4 },
      'step.budgeted_per_second': { value: 100, unit: '1/s', ratio: 10_000 },
      'chat.history_bytes_per_message': { value: 7_000, unit: 'bytes', ratio: 7_000 },
    },
  };
  const verdicts = (values: [number, number, number], speed = 1): (string | undefined)[] => {
    const now = { processorMs: 100 * speed, databaseMs: 50 * speed };
    const [time, rate, bytes] = values;
    const found = compare(
      [
        { name: 'step.budgeted_ms', value: time, unit: 'ms' },
        { name: 'step.budgeted_per_second', value: rate, unit: '1/s' },
        { name: 'chat.history_bytes_per_message', value: bytes, unit: 'bytes' },
        { name: 'step.unknown', value: 1, unit: 'ms' },
      ],
      now,
      baseline,
    );
    return found.map(({ verdict }) => verdict);
  };

  test('is silent about the same figures, and about a machine that is twice as slow at everything', () => {
    expect(verdicts([20, 100, 7_000])).toEqual(['as before', 'as before', 'as before']);
    expect(verdicts([40, 50, 7_000], 2)).toEqual(['as before', 'as before', 'as before']);
  });

  test('tells what became slower on the same machine, and what became faster', () => {
    expect(verdicts([40, 50, 7_500])).toEqual(['WORSE', 'WORSE', 'WORSE']);
    expect(verdicts([10, 200, 5_000])).toEqual(['better', 'better', 'better']);
  });

  test('is not deceived by a fast machine', () => {
    expect(verdicts([20, 100, 7_000], 0.5)).toEqual(['WORSE', 'WORSE', 'as before']);
  });
});
