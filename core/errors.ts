/**
 * Every error that a caller can meet: its code, the HTTP status that carries it, whether the same request may succeed
 * when sent again, and what the reader can do. `docs/errors.md` has the same list; a test keeps the two equal. Which codes another model
 * may help with is `fallsBack` (workflows/agent/agent-loop.ts), which the client waits for `isPassing` (client/http.ts).
 */
export interface ErrorEntry {
  httpStatus: number;
  /** Whether the same request may succeed later without anything being changed. */
  retry: boolean;
  action: string;
}

export const errorCatalogue = {
  // Asking wrongly.
  invalid_json: {
    httpStatus: 400,
    retry: false,
    action: 'Send a JSON object; the message says where reading it failed.',
  },
  invalid_request: { httpStatus: 400, retry: false, action: 'Correct the field that the message names.' },
  invalid_amount: {
    httpStatus: 400,
    retry: false,
    action: 'Send a plain decimal string of US dollars that is not negative, such as "0.25".',
  },
  unauthorized: {
    httpStatus: 401,
    retry: false,
    action: 'Send an API key as `Authorization: Bearer …`. `npm start` shows one.',
  },
  forbidden: {
    httpStatus: 403,
    retry: false,
    action:
      'Use a key of that tenant whose role may do it, or one of the administration; the message says what is missing.',
  },
  not_found: { httpStatus: 404, retry: false, action: 'Check the path and the id; `/openapi.json` lists the paths.' },
  unknown_tenant: {
    httpStatus: 404,
    retry: false,
    action: 'Create the tenant first (`npx spendlock tenants create`, or POST /v1/tenants).',
  },
  unknown_operation: {
    httpStatus: 404,
    retry: false,
    action: 'Reserve first (POST /v1/reservations), or check the operation id and the tenant.',
  },
  tenant_exists: { httpStatus: 409, retry: false, action: 'Use the tenant as it is, or choose another id.' },
  tenant_busy: {
    httpStatus: 409,
    retry: true,
    action: 'Cancel its open runs, close its conversations, release what it holds, and ask again in a minute.',
  },
  last_key: {
    httpStatus: 409,
    retry: false,
    action:
      'Make another one first (`npx spendlock keys create --admin`), or name it once more as `confirm` (`--yes`); without any, `npx spendlock keys first` makes one.',
  },
  idempotency_conflict: { httpStatus: 409, retry: false, action: 'Use a new Idempotency-Key for a different request.' },
  idempotency_in_progress: {
    httpStatus: 409,
    retry: true,
    action: 'Wait for the first request of this Idempotency-Key to end.',
  },
  payload_too_large: {
    httpStatus: 413,
    retry: false,
    action: 'Send a shorter task or a smaller file; the message names the limit.',
  },
  rate_limited: {
    httpStatus: 429,
    retry: true,
    action: 'Send the same request again after `retryAfter` seconds, or raise SPENDLOCK_RATE_LIMIT_PER_SECOND.',
  },
  too_much_at_once: {
    httpStatus: 429,
    retry: true,
    action: 'Send the same request again after `retryAfter` seconds, when something of yours that is open has ended.',
  },
  unsupported_media_type: { httpStatus: 415, retry: false, action: 'Send JSON with `Content-Type: application/json`.' },
  unpriced_model: { httpStatus: 422, retry: false, action: 'Use a priced model, or add its price (docs/prices.md).' },
  unpriced_usage: {
    httpStatus: 422,
    retry: false,
    action: 'Add a price version that has the missing rate (docs/prices.md).',
  },
  unpriced_sandbox: { httpStatus: 422, retry: false, action: 'Use a priced tier, or add its price (docs/prices.md).' },
  tool_exists: {
    httpStatus: 409,
    retry: false,
    action: 'Choose another name, or send `"replace": true` to put it in the place of the one that is there.',
  },
  tool_unreachable: {
    httpStatus: 422,
    retry: true,
    action: 'Look at the address and the credential; the message says what came from there. Then register it again.',
  },
  price_exists: {
    httpStatus: 409,
    retry: false,
    action: 'Prices are never changed: give the new version a later effectiveFrom.',
  },
  invalid_price: { httpStatus: 500, retry: false, action: 'Insert a corrected price version (docs/prices.md).' },
  // Money.
  quota_exceeded: {
    httpStatus: 429,
    retry: true,
    action:
      'Ask again after as long as it says, or raise the quota that the error names. Where it says no time, waiting does not help.',
  },
  quota_missing: {
    httpStatus: 409,
    retry: false,
    action: 'Set a quota that covers the resource (PUT /v1/tenants/{id}/quotas).',
  },
  budget_frozen: {
    httpStatus: 403,
    retry: false,
    action: 'Ask an operator: the message says whose budget it is, why, and the command that lifts it.',
  },
  run_limit_exceeded: {
    httpStatus: 409,
    retry: false,
    action:
      'Where it says a time (`retryAfter`), calls under way hold what is missing: ask again after that. Else start the run again with a higher limit: its own, or that of the run that it belongs to, whichever the message names.',
  },
  run_limit_conflict: {
    httpStatus: 409,
    retry: false,
    action: 'Use the limit and the parent that the run began with, or another run.',
  },
  run_parent_refused: {
    httpStatus: 409,
    retry: false,
    action: 'Name a parent that goes on, has a limit and is less than eight deep, or none.',
  },
  envelope_exceeded: {
    httpStatus: 409,
    retry: false,
    action:
      'The operation id stays refused. Under a new one ask for what is left (`minimumUsd` takes a part of it), ask once a part has ended, or reserve without `parentOperationId`.',
  },
  envelope_refused: {
    httpStatus: 409,
    retry: false,
    action:
      'Name an envelope that is open, of the same user, labels, resources and run (`runId`), and do with an envelope only what the message says; then use a new operation id.',
  },
  operation_conflict: { httpStatus: 409, retry: false, action: 'Use a new operation id.' },
  operation_released: { httpStatus: 409, retry: false, action: 'Reserve under a new operation id.' },
  command_failed: {
    httpStatus: 500,
    retry: false,
    action: 'Look for the command in the logs of the budget workers; nothing was reserved.',
  },
  claim_refused: {
    httpStatus: 409,
    retry: false,
    action: 'Make no call. Reserve under a new operation id: the reservation ended before it was used.',
  },
  cost_unconfirmed: {
    httpStatus: 422,
    retry: false,
    action:
      'Check the unit: US dollars, not cents or tokens. Where that much was billed, send it once more with `"confirm": true` and a `reason` under a key of an operator or of the administration (`npx spendlock holds commit … --confirm --reason`).',
  },
  // Providers.
  provider_refused: {
    httpStatus: 502,
    retry: false,
    action: 'Read the status that the message gives; nothing was billed.',
  },
  provider_unavailable: { httpStatus: 503, retry: true, action: 'Try again later; nothing was billed.' },
  provider_credentials: {
    httpStatus: 502,
    retry: false,
    action: 'Check the provider key of the workers; nothing was billed.',
  },
  model_refused: {
    httpStatus: 502,
    retry: false,
    action: 'Put the task in other words, or name another model. What the provider bills of it is on record.',
  },
  answer_invalid: {
    httpStatus: 502,
    retry: false,
    action:
      'Read what does not fit in the message, and what was said with the run. Name another model, or a schema that asks for less.',
  },
  outcome_unknown: {
    httpStatus: 502,
    retry: true,
    action: 'The ledger has what was charged: the cost where it is known, else the estimate as `unverified`.',
  },
  sandbox_failed: {
    httpStatus: 502,
    retry: true,
    action: 'Start the run again; the message says what the sandbox provider answered.',
  },
  code_refused: {
    httpStatus: 403,
    retry: false,
    action: "Set E2B_API_KEY, or allow a model's code to run on this machine with --allow-local-code.",
  },
  superseded: {
    httpStatus: 409,
    retry: false,
    action: 'Nothing: the run went on without this reply. What it cost is on record.',
  },
  // Runs and the system itself.
  run_cancelled: {
    httpStatus: 409,
    retry: false,
    action: 'Nothing: it was asked for. What had been spent stays on record.',
  },
  run_timeout: { httpStatus: 504, retry: false, action: 'Start the run again with a longer timeoutSeconds.' },
  run_lost: {
    httpStatus: 409,
    retry: false,
    action:
      'Start it again under a new Idempotency-Key. What it had spent is on record, what it held comes back by itself.',
  },
  conversation_ended: {
    httpStatus: 409,
    retry: false,
    action: 'Begin a new conversation; what was said in this one can still be read.',
  },
  turn_interrupted: { httpStatus: 409, retry: false, action: 'Nothing: it was asked for. Send the next message.' },
  approval_decided: {
    httpStatus: 409,
    retry: false,
    action: 'Nothing: somebody decided it before, or nobody waits for it any more; the message says which.',
  },
  money_request_decided: {
    httpStatus: 409,
    retry: false,
    action:
      'Nothing: it was answered before, or nobody waits for it any more; the message says which. A top-up lifts the limit all the same.',
  },
  run_ended: { httpStatus: 409, retry: false, action: 'Nothing: the run had ended already.' },
  authority_unavailable: {
    httpStatus: 503,
    retry: true,
    action:
      'Try again in a moment under a new operation id; nothing is held. Where it stays so, `npx spendlock doctor` says whether budget workers run.',
  },
  unavailable: { httpStatus: 503, retry: true, action: 'Try again in a moment; `/readyz` says what is missing.' },
  internal: { httpStatus: 500, retry: true, action: 'Report it with the request id; the log has the rest.' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCatalogue;

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCatalogue, code);
