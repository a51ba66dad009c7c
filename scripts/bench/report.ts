/** How the benchmark speaks: one JSON object a line. */
export type Print = (name: string, value: number, unit: string, more?: object) => void;

export const print: Print = (name, value, unit, more = {}) =>
  console.log(JSON.stringify({ name, value: Math.round(value * 100) / 100, unit, ...more }));

/** The value below which a share of the sample lies. */
export function quantile(sample: readonly number[], share: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}
export const median = (sample: readonly number[]): number => quantile(sample, 0.5);
