/**
 * Labels as a header names them: `team=search,feature=summary`, as W3C Baggage spells its list. A comma, a percent sign or a blank at the
 * edge of a value is percent-encoded; what is beyond ASCII may be, or is UTF-8 as it is.
 */
import { mergedLabels, problemOfLabels, type Labels } from '../../core/labels';
import { ApiError } from '../http/errors';

/** The labels of `x-spendlock-labels`, in UTF-8. Undefined where it names none. @throws ApiError `invalid_request`. */
export function labelsIn(header: string): Labels | undefined {
  const named = header
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
    .map(labelIn);
  const labels = Object.fromEntries(named);
  if (Object.keys(labels).length < named.length) throw wrong('names a key twice.');
  const problem = problemOfLabels(labels);
  if (problem !== undefined) throw wrong(`its labels ${problem}.`);
  return mergedLabels(labels);
}

function labelIn(item: string): [string, string] {
  const at = item.indexOf('=');
  if (at < 0) throw wrong('must be a list of key=value, with commas between them.');
  try {
    return [item.slice(0, at).trim(), decodeURIComponent(item.slice(at + 1).trim())];
  } catch {
    throw wrong('has a percent sign that begins no UTF-8 character (a percent sign itself is %25).');
  }
}

const wrong = (what: string): ApiError =>
  new ApiError('invalid_request', `x-spendlock-labels: ${what} Nothing was done.`);
