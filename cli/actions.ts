/** What whoever sits at a terminal can do about a refusal, where the API's own words are for those who write requests. */
import { counted } from '../core/counted';
import type { ErrorCode } from '../core/errors';
import { lookAt, unanswered } from './orders';
import { askedApi } from './target';

/** What the API said beside the code. */
type Said = Record<string, unknown>;

/** The key that was sent is not taken: where it came from, and how to get another. */
function otherKey(): string {
  const { apiUrl, keyFrom } = askedApi();
  return keyFrom === 'SPENDLOCK_API_KEY'
    ? `SPENDLOCK_API_KEY has no key of ${apiUrl}: set it to one that is in force. \`npx spendlock keys create\` makes more, with one that is; \`keys first\` makes the first.`
    : `The key in ${keyFrom} is not one of ${apiUrl}: stop \`npm start\` and run it again, which writes it anew.`;
}

/** Somebody did not answer: what was ordered may have been done, or is done later. */
function lookFirst({ runId, conversationId }: Said): string {
  const doctor = '`npx spendlock doctor` says what is missing.';
  const order = unanswered();
  if (!order) return `Run the command again in a moment. ${doctor}`;
  const made = runId ?? conversationId;
  const path = typeof made === 'string' ? `${order.path.split('/').slice(0, 3).join('/')}/${made}` : order.path;
  return `Before you order it again, see what became of it: npx spendlock ${lookAt({ ...order, path }).join(' ')}\n${doctor}`;
}

const soon = ({ retryAfter }: Said): string =>
  `Run the command again in ${typeof retryAfter === 'number' ? counted(retryAfter, 'second') : 'a moment'}.`;

const actions: Partial<Record<ErrorCode, (said: Said) => string>> = {
  invalid_json: () => 'Say it in other words: the message tells what could not be read.',
  invalid_request: () => 'Correct what the message names. --help says what the command takes.',
  unauthorized: otherKey,
  not_found: () =>
    'Check the id and the tenant; the `list` of the same command has them. An API of an older version may lack it.',
  unknown_tenant: () => 'Check its name (`npx spendlock tenants list`), or create it (`npx spendlock tenants create`).',
  unknown_operation: () =>
    'Check the operation and the tenant (`npx spendlock holds list`), or reserve first (`npx spendlock holds reserve`).',
  last_key: () =>
    'Make another one first (`npx spendlock keys create --admin`), or say --yes; without any, `npx spendlock keys first` makes one.',
  idempotency_conflict: () => 'Run the command again.',
  idempotency_in_progress: () => 'The same request is being carried out. Look in a moment what came of it.',
  unsupported_media_type: () => 'Check SPENDLOCK_API_URL: what answers takes no JSON.',
  envelope_exceeded: () =>
    'The operation stays refused. Under a new one (without --operation one is made) ask for what is left (`--minimum` takes a part of it), ask once a part has ended, or ask the limits (`--or-beyond`, or without `--parent`).',
  envelope_refused: () =>
    'Name an envelope that is open, of the same user, labels and resources (`npx spendlock holds show`), and do with an envelope only what the message says.',
  quota_missing: () =>
    'Set a limit that covers it (`npx spendlock budget set`); `npx spendlock budget show` has those that are there.',
  cost_unconfirmed: () =>
    'Check the unit: US dollars, not cents or tokens. Where that much was billed, say so by --confirm and --reason, with a key of an operator or of the administration.',
  rate_limited: soon,
  too_much_at_once: soon,
  tool_exists: () => 'Choose another name, or say --replace.',
  tool_unreachable: () => 'Look at the address and the credential, then register it again.',
  price_exists: () => 'Prices are never changed: give the new version a later moment (--from).',
  run_limit_exceeded: (said) =>
    typeof said.retryAfter === 'number'
      ? `Calls under way hold what is missing. ${soon(said)}`
      : 'Start the run again with a higher limit: its own, or that of the run that it belongs to, whichever the message names.',
  run_timeout: () => 'Start it again with less to do.',
  unavailable: lookFirst,
  run_lost: () => 'Start it again. What it had spent is on record, what it held comes back by itself.',
};

/** For a code of the catalogue of errors; undefined where the API's own words do. */
export const actionOf = (code: string, said: Said = {}): string | undefined =>
  Object.hasOwn(actions, code) ? actions[code as ErrorCode]?.(said) : undefined;
