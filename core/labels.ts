/**
 * Labels say what a cost was for, such as `team: search`, beside its user and its run. They come from the key, the conversation, the
 * run and the request: the later one of a key wins. Here is how they may be spelled, which of them hold, and what of them makes two
 * requests the same (docs/decisions/0053-labels.md).
 */
import { omitUndefined } from './omit-undefined';

export type Labels = Readonly<Record<string, string>>;

/** How many a request, a run or a key may have. What they come to together has no more either. */
export const labelsMax = 8;
/** Of a value, in UTF-8. */
const valueBytesMax = 64;
const labelKeyPattern = /^[a-z][a-z0-9_.-]{0,31}$/;
/** No control characters, line breaks, or marks that turn text around. */
const labelValuePattern = /^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+$/;
/** In sums, what stands for all values beyond the bound. Nobody names it. */
export const otherValue = 'other';

/** Half of a pair of surrogates, which Postgres does not take. */
const halves = /\p{Surrogate}/u;

/** What is wrong with labels, in words that quote nothing; undefined for what can be used. */
export function problemOfLabels(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'must be an object of texts';
  const entries = Object.entries(value as Record<string, unknown>);
  if (entries.length > labelsMax) return `must be at most ${labelsMax}`;
  for (const [key, text] of entries) {
    if (!labelKeyPattern.test(key))
      return 'must have keys of 1 to 32 small letters, digits, dots, hyphens and underscores, a letter first';
    if (typeof text !== 'string' || !labelValuePattern.test(text) || halves.test(text))
      return 'must have texts without control characters as values';
    if (bytesOf(text) > valueBytesMax) return `must have values of at most ${valueBytesMax} bytes in UTF-8`;
    if (text === otherValue) return `must not have the value ${otherValue}, which stands for those beyond the bound`;
  }
  return undefined;
}

/** Without `TextEncoder`, which workflows have no type of. */
const bytesOf = (text: string): number =>
  [...text].reduce((bytes, character) => {
    const code = character.codePointAt(0) ?? 0;
    return bytes + (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
  }, 0);

/** What holds of labels from several places, the nearest to the call last: it wins. Undefined where there are none. */
export function mergedLabels(...from: readonly (Labels | undefined)[]): Labels | undefined {
  const merged = Object.assign({}, ...from) as Labels;
  return Object.keys(merged).length === 0 ? undefined : merged;
}

/** Of a request: the labels that hold for it, and those that its caller sent, where they are others. */
export interface Labelled {
  labels?: Labels | undefined;
  sentLabels?: Labels | undefined;
}

/** A request's labels: those that its caller sent, over those that it inherits, in their order. */
export function labelled(sent: Labels | undefined, ...inherited: readonly (Labels | undefined)[]) {
  const labels = mergedLabels(...inherited, sent);
  return omitUndefined({ labels, sentLabels: areEqual(labels, sent) ? undefined : (sent ?? {}) });
}

/**
 * On record where a process of the version before decided: it knew of no labels, so that a repeat with any asks for the same. None of
 * this version has it: what has no labels names none.
 */
export const unknownLabels: Labels = {};

/** Whether two ask with the same labels: by what was sent, since what is inherited may change between a request and its repeat. */
export const sentAlike = (a: Labelled, b: Labelled): boolean =>
  areEqual(a.sentLabels ?? a.labels, b.sentLabels ?? b.labels);

/** The same of what is on record and a command that names its operation. */
export const recordedAlike = (recorded: Labelled, command: Labelled): boolean =>
  (recorded.labels !== undefined && Object.keys(recorded.labels).length === 0) || sentAlike(recorded, command);

/** Whether two have the same labels, in whatever order. */
export const areEqual = (a: Labels = {}, b: Labels = {}): boolean =>
  Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([key, value]) => b[key] === value);

/** Labels of a row, which another version may have written: what cannot be understood is none, and no reason to refuse money. */
export const labelsFrom = (value: unknown): Labels | undefined =>
  value === null || problemOfLabels(value) !== undefined ? undefined : (value as Labels);
