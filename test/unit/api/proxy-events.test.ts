/** Events of a stream are told apart however their bytes are cut, and what they say of usage is read from the side. */
import fc from 'fast-check';
import { MessageStreamReader, wholeMessageReader } from '../../../api/proxy/anthropic/reader';
import { ChatStreamReader } from '../../../api/proxy/openai/chat/reader';
import { PassingEvents, type PassingEvent } from '../../../api/proxy/events';

const event = (data: { type: string } & Record<string, unknown>, end = '\n'): string =>
  `event: ${data.type}${end}data: ${JSON.stringify(data)}${end}${end}`;
const start = event({ type: 'message_start', message: { usage: { input_tokens: 7, output_tokens: 1 } } });
const block = event({ type: 'content_block_start', index: 0 });
const delta = event({ type: 'content_block_delta', delta: { text: 'h\u00e9 \u{1f600} {"type":"message_stop"}' } });
const last = event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 9 } });
const stop = event({ type: 'message_stop' });

const read = (text: string): MessageStreamReader => {
  const reader = new MessageStreamReader();
  reader.push(Buffer.from(text));
  return reader;
};

describe('events that pass', () => {
  test('are the same, wherever their bytes are cut', () => {
    const bytes = Buffer.from(`${start}: a comment\n\n${delta}${event({ type: 'ping' }, '\r\n')}${last}`);
    const told = (parts: Buffer[]): PassingEvent[] => {
      const all: PassingEvent[] = [];
      const events = new PassingEvents((one) => all.push(one));
      for (const part of parts) events.push(part);
      expect(events.isBetweenEvents).toBe(true);
      return all;
    };
    const whole = told([bytes]);
    expect(whole.map(({ name }) => name)).toEqual(['message_start', 'content_block_delta', 'ping', 'message_delta']);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 8 }), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        expect(told(places.slice(1).map((to, at) => bytes.subarray(places[at], to)))).toEqual(whole);
      }),
    );
  });

  test('that are not whole are not told, and one that never ends keeps no memory', () => {
    const all: PassingEvent[] = [];
    const events = new PassingEvents((one) => all.push(one));
    events.push(Buffer.from(`${start}event: mess`));
    expect([all.length, events.isBetweenEvents]).toEqual([1, false]);
    const long = Buffer.alloc(1024 * 1024, 'a');
    for (let at = 0; at < 7; at += 1) events.push(long);
    expect(() => [1, 2, 3].forEach(() => events.push(long))).toThrow('longer than');
    expect(events.isLost).toBe(true);
    // Nothing more is read, and nothing is kept.
    events.push(Buffer.from('\n\n'));
    expect([all.length, events.isBetweenEvents]).toEqual([1, false]);
  });
});

describe('what a stream says of itself', () => {
  test('is its last report, over what it began with', () => {
    const { read: said } = read(start + block + delta + last + stop);
    expect(said).toMatchObject({ usageIsFinal: true, isWhole: true, usage: { input_tokens: 7, output_tokens: 9 } });
  });

  test.each([
    ['nothing, before it began', '', { usageIsFinal: false, outputBegan: false, isWhole: false }],
    ['its beginning, where it stops', start + delta, { usageIsFinal: false, outputBegan: true, isWhole: false }],
    [
      'an error before any output',
      event({ type: 'error', error: { type: 'overloaded_error' } }),
      { outputBegan: false, errorType: 'overloaded_error' },
    ],
    [
      'a last report without usage',
      start + event({ type: 'message_delta', delta: {} }),
      { usageIsFinal: true, doubt: expect.stringContaining('did not say') as string },
    ],
    ['two messages', start + start, { doubt: expect.stringContaining('second message') as string }],
    [
      'usage that is none',
      start + event({ type: 'message_delta', delta: {}, usage: 'much' }),
      { usageIsFinal: true, doubt: expect.stringContaining('usage') as string },
    ],
    [
      'a refusal before any output',
      start +
        event({
          type: 'message_delta',
          delta: { stop_reason: 'refusal', stop_details: { category: 'cyber' } },
          usage: {},
        }),
      { isNotBilled: true },
    ],
    [
      'one that is billed',
      start +
        event({
          type: 'message_delta',
          delta: { stop_reason: 'refusal', stop_details: { category: 'bio' } },
          usage: {},
        }),
      { usageIsFinal: true },
    ],
    ['what is no JSON', 'event: message_start\ndata: {"type\n\n', { outputBegan: false }],
  ])('is %s', (_what, text, said) => {
    expect(read(text).read).toMatchObject(said);
  });
});

describe('what a stream of a chat completion says of itself', () => {
  const answer = { index: 0, delta: { content: 'He said "usage": {"completion_tokens":1}' } };
  const piece = (choices: object[], completionTokens?: number): string =>
    `data: ${JSON.stringify({ choices, usage: completionTokens === undefined ? null : { completion_tokens: completionTokens } })}\n\n`;
  const said = (...pieces: string[]): ChatStreamReader['read'] => {
    const reader = new ChatStreamReader();
    reader.push(Buffer.from(pieces.join('')));
    return reader.read;
  };
  const usageOf = (completionTokens: number): object => ({ usage: { completion_tokens: completionTokens } });

  test('is final in the piece that has no answer in it, or at its end', () => {
    expect(said(piece([answer]), piece([], 9))).toMatchObject({
      usageIsFinal: true,
      isWhole: true,
      usage: usageOf(9),
    });
    expect(said(piece([answer], 9), 'data: [DONE]\n\n')).toMatchObject({ usageIsFinal: true, usage: usageOf(9) });
  });

  test('is not final while answers go on, although it is reported with each', () => {
    expect(said(piece([answer], 1), piece([answer], 2))).toMatchObject({ usageIsFinal: false, outputBegan: true });
  });
});

test('an answer that comes whole is one where it is a message, and nothing else', () => {
  const whole = (text: string): MessageStreamReader['read'] => {
    const reader = wholeMessageReader();
    reader.push(Buffer.from(text));
    reader.end();
    return reader.read;
  };
  expect(whole('{"type":"message","usage":{"input_tokens":1}}')).toMatchObject({
    isWhole: true,
    usage: { input_tokens: 1 },
  });
  for (const text of ['{"type":"error"}', '[]', '<html>', '{"type":"message"']) expect(whole(text).isWhole).toBe(false);
});
