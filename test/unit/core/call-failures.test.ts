import { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from '@anthropic-ai/sdk';
import { errorFacts } from '../../../activities/llm/anthropic';
import { callFailure } from '../../../core/prices/call-failures';

const status = (code: number, headers: Record<string, string> = {}, type = 'api_error'): APIError =>
  APIError.generate(
    code,
    { type: 'error', error: { type, message: 'it quotes the prompt' } },
    'it quotes the prompt',
    new Headers(headers),
  );
const unreachable = (code: string): APIConnectionError =>
  new APIConnectionError({
    message: 'x',
    cause: Object.assign(new Error('fetch failed'), { cause: Object.assign(new Error(code), { code }) }),
  });

describe('an error of the model’s provider', () => {
  test.each([
    ['a refused connection', unreachable('ECONNREFUSED'), 'no', 'provider_unavailable'],
    ['a connection that broke', unreachable('ECONNRESET'), 'unknown', 'outcome_unknown'],
    ['a time-out', new APIConnectionTimeoutError(), 'unknown', 'outcome_unknown'],
    ['a broken-off call', new APIUserAbortError(), 'unknown', 'outcome_unknown'],
    ['400', status(400), 'no', 'provider_refused'],
    ['401', status(401), 'no', 'provider_credentials'],
    ['404', status(404), 'no', 'provider_refused'],
    ['429', status(429), 'no', 'provider_unavailable'],
    ['529', status(529, {}, 'overloaded_error'), 'no', 'provider_unavailable'],
    ['500', status(500), 'unknown', 'outcome_unknown'],
    ['something else', new Error('what?'), 'unknown', 'outcome_unknown'],
  ])('%s: billed %s', (_name, error, billed, code) => {
    expect(callFailure(errorFacts(error), { outputBegan: false, nowMs: Date.now() })).toMatchObject({ billed, code });
  });

  test('costs nothing where there was no connection yet, however it ended', () => {
    const failed = callFailure({ kind: 'unreached' }, { outputBegan: false, nowMs: Date.now() });
    expect(failed).toMatchObject({ billed: 'no', code: 'provider_unavailable', retry: true });
  });

  test('is never free once output began', () => {
    expect(callFailure(errorFacts(status(529)), { outputBegan: true, nowMs: Date.now() })).toMatchObject({
      billed: 'unknown',
    });
  });

  test.each([
    [400, ['file'], /answered 400 .*: the file that was sent with it may be one that it cannot read[.] Nothing/],
    [
      400,
      ['file', 'tools'],
      /cannot read, or the schemas of the tools of its tenant may be ones that it does not take[.] /,
    ],
    [400, [], /answered 400 \(api_error\)[.] Nothing/],
    [404, ['file'], /does not know the model/],
  ] as const)('of %s names what was sent with it: %s', (code, brought, says) => {
    const moment = { outputBegan: false, brought, nowMs: Date.now() };
    expect(callFailure(errorFacts(status(code)), moment).message).toMatch(says);
  });

  test('is told without the provider’s text, which may quote the prompt', () => {
    expect(callFailure(errorFacts(status(400)), { outputBegan: false, nowMs: Date.now() }).message).not.toContain(
      'prompt',
    );
  });

  test.each([
    ['120', 120],
    ['99999999', 86_400],
    ['-5', undefined],
    ['soon', undefined],
  ])('asks to wait: retry-after %s', (header, seconds) => {
    const failed = callFailure(errorFacts(status(429, { 'retry-after': header })), {
      outputBegan: false,
      nowMs: Date.now(),
    });
    expect('retryAfterSeconds' in failed ? failed.retryAfterSeconds : undefined).toBe(seconds);
  });
});
