/** Labels as somebody looks for them: as they are spelled, and `other` too, which stands for values beyond the bound. */
import { problemOfLabels, type Labels } from './labels';

const anyValue = 'any';

/** What is wrong with labels that are looked for; undefined for what can be. */
export const problemOfLabelQuery = (labels: Labels): string | undefined =>
  problemOfLabels(
    Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, value === 'other' ? anyValue : value])),
  );

export const isLabelKey = (key: string): boolean => problemOfLabels({ [key]: anyValue }) === undefined;
