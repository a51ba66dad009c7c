/** What the command line says of a refusal has no words that only who writes requests can use: headers, routes, fields of JSON. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { actionOf } from '../../../cli/actions';
import { errorCatalogue, type ErrorCode } from '../../../core/errors';

/** An option named beside a field is for both. */
const ofRequests = (text: string): boolean =>
  /Idempotency-Key|\/v1\/|\/readyz|\/openapi|Content-Type|Authorization|\bheader\b|"\w+": |\b[a-z]+[A-Z]\w+/.test(
    text.replace(/\(`\w+`, `--[\w-]+`\)/g, ''),
  );

/** Those that name what was wrong in a request, which a command does not send, or checks before. */
const notFromCommands: ErrorCode[] = [
  'invalid_request',
  'invalid_json',
  'payload_too_large',
  'unsupported_media_type',
  'idempotency_conflict',
];

const api = path.join(__dirname, '..', '..', '..', 'api');
const refusals = readdirSync(api, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => [
    ...readFileSync(path.join(api, file), 'utf8').matchAll(/new ApiError\(\s*'(\w+)'((?:[^;]|;(?!\n))*?)\);/g),
  ])
  .map(([, code = '', words = '']) => {
    const texts = [...words.matchAll(/(\w+: )?('(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)/g)].map(([, name, text = '']) => ({
      isAction: name === 'action: ',
      text: text.replace(/\$\{[^}]*\}/g, ''),
    }));
    return { code: code as ErrorCode, texts: texts.filter(({ text }) => text.includes(' ')) };
  })
  .filter(({ code }) => !notFromCommands.includes(code));

describe('words of the command line', () => {
  test.each(Object.entries(errorCatalogue))('of %s', (code, { action }) => {
    expect([code, ofRequests(actionOf(code) ?? action)]).toEqual([code, false]);
  });

  test('are given in place of what an API’s own action says of requests, and its messages say nothing of them', () => {
    expect(refusals.length).toBeGreaterThan(30);
    const wrong = refusals.flatMap(({ code, texts }) =>
      texts
        .filter(({ text, isAction }) => ofRequests(text) && !(isAction && actionOf(code) !== undefined))
        .map(({ text }) => ({ code, text })),
    );
    expect(wrong).toEqual([]);
  });
});
