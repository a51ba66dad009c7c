/**
 * Figures that were kept, as ratios to the calibration of their own run, and the report of what has become slower since. A machine
 * that is slow today is slow at both.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { table } from '../../cli/output';
import type { Calibration } from './calibration';

const baselineFile = path.join(__dirname, '..', '..', 'docs', 'performance-baseline.json');

/** What a figure is divided by, and which way is better. */
type Yardstick = { by: 'processor' | 'database' | 'none'; better: 'lower' | 'higher' };

/** The figures that are kept. Those of single steps hang on the database's commits, those of many at once on the processors. */
const kept: Record<string, Yardstick> = {
  'step.bare_ms': { by: 'database', better: 'lower' },
  'step.budgeted_ms': { by: 'database', better: 'lower' },
  'decision.p50_ms': { by: 'database', better: 'lower' },
  'step.bare_per_second': { by: 'processor', better: 'higher' },
  'step.budgeted_per_second': { by: 'processor', better: 'higher' },
  'chat.gate_p50_ms': { by: 'processor', better: 'lower' },
  'chat.gate_p95_ms': { by: 'processor', better: 'lower' },
  'chat.first_delta_behind_provider_ms': { by: 'processor', better: 'lower' },
  'chat.history_bytes_per_message': { by: 'none', better: 'lower' },
  'chat.history_bytes_per_step': { by: 'none', better: 'lower' },
};

/** Runs of one build differ by this much on a shared machine; more is worth a look. */
const toleranceOf = ({ by }: Yardstick): number => (by === 'none' ? 0.05 : 0.35);

export interface Figure {
  name: string;
  value: number;
  unit: string;
}

interface Baseline {
  calibration: Calibration;
  figures: Record<string, { value: number; unit: string; ratio: number }>;
}

const ratioOf = ({ value }: Figure, { by, better }: Yardstick, { processorMs, databaseMs }: Calibration): number => {
  if (by === 'none') return value;
  const yardMs = by === 'processor' ? processorMs : databaseMs;
  // A rate falls as the machine slows, a time grows.
  return better === 'higher' ? value * yardMs : value / yardMs;
};

/** Keeps the figures of a run as what later ones are compared with. */
export function saveBaseline(figures: readonly Figure[], calibration: Calibration): void {
  const rounded = (value: number): number => Number(value.toPrecision(4));
  const entries = figures.flatMap((figure) => {
    const yardstick = kept[figure.name];
    if (!yardstick) return [];
    const { value, unit } = figure;
    return [[figure.name, { value, unit, ratio: rounded(ratioOf(figure, yardstick, calibration)) }] as const];
  });
  const { processorMs, databaseMs } = calibration;
  const baseline: Baseline = {
    calibration: { processorMs: rounded(processorMs), databaseMs: rounded(databaseMs) },
    figures: Object.fromEntries(entries),
  };
  writeFileSync(baselineFile, `${JSON.stringify(baseline, null, 2)}\n`);
}

export interface Comparison {
  name: string;
  now: number;
  unit: string;
  /** The ratio of now over the one that was kept, such that above 1 is worse. */
  worseBy: number;
  verdict: 'as before' | 'better' | 'WORSE';
}

/** Compares a run with the baseline. @throws Error when there is none. */
export function compare(figures: readonly Figure[], calibration: Calibration, baseline = readBaseline()): Comparison[] {
  return figures.flatMap((figure) => {
    const yardstick = kept[figure.name];
    const before = baseline.figures[figure.name];
    if (!yardstick || !before) return [];
    const change = ratioOf(figure, yardstick, calibration) / before.ratio;
    const worseBy = yardstick.better === 'higher' ? 1 / change : change;
    const tolerance = 1 + toleranceOf(yardstick);
    const verdict = worseBy > tolerance ? 'WORSE' : worseBy < 1 / tolerance ? 'better' : 'as before';
    return [{ name: figure.name, now: figure.value, unit: figure.unit, worseBy, verdict }];
  });
}

function readBaseline(): Baseline {
  if (!existsSync(baselineFile))
    throw new Error('There is no baseline: npm run bench -- --save-baseline makes one. Nothing was compared.');
  return JSON.parse(readFileSync(baselineFile, 'utf8')) as Baseline;
}

export const comparisonTable = (comparisons: readonly Comparison[]): string =>
  table(
    [
      { name: 'figure', of: ({ name }: Comparison) => name },
      { name: 'now', of: ({ now, unit }) => `${now} ${unit}`, right: true },
      {
        name: 'against the baseline',
        of: ({ worseBy }) => `${worseBy >= 1 ? '+' : '−'}${Math.abs((worseBy - 1) * 100).toFixed(0)} %`,
        right: true,
      },
      { name: 'verdict', of: ({ verdict }) => verdict },
    ],
    comparisons,
    'None of the figures that were measured is kept.',
  );
