/** What a model is shown of a run: the order of what was said, an answer to each call, what is shortened, and what a summary stands for. */
import type { Block, PromptMessage } from '../../../activities/llm/model-provider';
import { promptOf, wellFormed, type Context } from '../../../activities/llm/prompt';
import type { Run } from '../../../store/runs';
import type { TranscriptMessage } from '../../../store/transcripts';

const text = (said: string): Block => ({ type: 'text', text: said });
const call = (id: string): Block => ({ type: 'tool_use', id, name: 'run_code', input: {} });
const result = (id: string, content = `out of ${id}`): Block => ({ type: 'tool_result', tool_use_id: id, content });
const user = (...content: Block[]): PromptMessage => ({ role: 'user', content });
const assistant = (...content: Block[]): PromptMessage => ({ role: 'assistant', content });

/** A message in a line: `U hello` is a user's text, `call a` a call, `a=` its result, `a!` that it was not carried out. */
const shown = ({ role, content }: PromptMessage): string =>
  [
    role === 'user' ? 'U' : 'A',
    ...content.map((block) => {
      if (block.type === 'text') return block.text;
      if (block.type === 'tool_use') return `call ${block.id}`;
      if (block.type === 'tool_result') return `${block.tool_use_id}${block.is_error ? '!' : '='}`;
      return 'opaque';
    }),
  ].join(' ');

const cases: [what: string, messages: PromptMessage[], formed: string][] = [
  ['leaves alone what is well formed', [user(text('hi')), assistant(call('a')), user(result('a')), assistant(text('done'))], 'U hi | A call a | U a= | A done'], // prettier-ignore
  ['joins what one side says in turn', [user(text('hi')), user(text('there')), assistant(text('yes')), assistant(text('sir'))], 'U hi there | A yes sir'], // prettier-ignore
  ['leaves out a message of nothing', [user(), user(text('hi')), assistant(), user(text('there'))], 'U hi there'], // prettier-ignore
  ['answers a call that a new message of the user overtook', [user(text('hi')), assistant(call('a')), user(text('stop'))], 'U hi | A call a | U a! stop'], // prettier-ignore
  ['answers the calls of a last message', [user(text('hi')), assistant(call('a'), call('b'))], 'U hi | A call a call b | U a! b!'], // prettier-ignore
  ['answers the one of two calls that has no answer', [user(text('hi')), assistant(call('a'), call('b')), user(result('b'), text('and'))], 'U hi | A call a call b | U a! b= and'], // prettier-ignore
  ['answers calls between two messages of the assistant', [user(text('hi')), assistant(call('a')), assistant(text('so'))], 'U hi | A call a | U a! | A so'], // prettier-ignore
  ['puts results before anything else the user says', [user(text('hi')), assistant(call('a'), call('b')), user(text('well'), result('a'), result('b'))], 'U hi | A call a call b | U a= b= well'], // prettier-ignore
  ['leaves out a result without its call', [user(result('z'), text('hi')), assistant(text('yes')), user(result('y'))], 'U hi | A yes'], // prettier-ignore
  ['leaves out a result that comes after its call was given up', [user(text('hi')), assistant(call('a')), user(text('stop')), user(result('a'))], 'U hi | A call a | U a! stop'], // prettier-ignore
  ['leaves out a result of an earlier turn', [user(text('hi')), assistant(call('a')), user(result('a')), assistant(call('b')), user(result('a'), result('b'))], 'U hi | A call a | U a= | A call b | U b='], // prettier-ignore
  ['leaves out thoughts and blanks with nothing behind them', [user(text('hi')), assistant({ type: 'opaque', provider: 'p', value: 1 }), user(text('so')), assistant(text(' \n')), user(text('on'))], 'U hi so on'], // prettier-ignore
  ['keeps what only one provider understands', [user(text('hi')), assistant({ type: 'opaque', provider: 'p', value: 1 }, call('a')), user(result('a'))], 'U hi | A opaque call a | U a='], // prettier-ignore
];

describe('a prompt', () => {
  test.each(cases)('%s', (_, messages, formed) => {
    const before = JSON.stringify(messages);
    expect(wellFormed(messages).map(shown).join(' | ')).toBe(formed);
    // What was read is not changed: it is counted and sent again.
    expect(JSON.stringify(messages)).toBe(before);
  });

  test('tells the model that a call was not carried out, as an error', () => {
    const [answer] = wellFormed([assistant(call('a'))]).at(-1)?.content ?? [];
    expect(answer).toMatchObject({ type: 'tool_result', tool_use_id: 'a', is_error: true });
    expect(JSON.stringify(answer)).toContain('not carried out');
  });
});

describe('a prompt of a run', () => {
  const run = (more: Partial<Run> = {}): Run =>
    ({ type: 'task', task: 'Count.', options: {}, ...more }) as Partial<Run> as Run;
  const said = (...messages: PromptMessage[]): TranscriptMessage[] =>
    messages.map(({ role, content }, index) => ({ sequence: index + 1, role, content }));
  const prompt = (context: Partial<Context>) =>
    promptOf({ run: run(), messages: [], notes: [], shortenedThrough: 0, ...context }, ['python']);
  const firstResult = (context: Partial<Context>): string => {
    const blocks = prompt(context).messages.flatMap(({ content }) => content);
    const found = blocks.find((block) => block.type === 'tool_result');
    return found?.type === 'tool_result' ? found.content : '';
  };

  test('says what its model was told of its money where that was told, whatever came after', () => {
    const note = (afterSequence: number, of: string) => ({ of: 'run', level: 0, afterSequence, text: of });
    const notes = [note(0, 'all of it'), note(2, 'half of it')];
    const messages = said(assistant(call('a')), user(result('a')), assistant(call('b')), user(result('b')));
    const before = prompt({ messages: messages.slice(0, 2), notes }).messages;
    expect(
      before.map(({ content }) => content.flatMap((block) => (block.type === 'text' ? [block.text] : []))),
    ).toEqual([['Count.', 'all of it'], [], ['half of it']]);
    expect(prompt({ messages, notes }).messages.slice(0, 3)).toEqual(before);
    // Of what was told before a summary the last stays.
    const summary = { throughSequence: 2, text: 'Sum.' };
    const after = JSON.stringify(prompt({ messages: messages.slice(2), notes, summary }).messages);
    expect(after).toContain('half of it');
    expect(after).not.toContain('all of it');
  });

  test('begins with its task, its file, and the summary of what came before', () => {
    const summary = { throughSequence: 4, text: 'Half is counted.' };
    const { messages } = prompt({
      run: run({ fileName: 'sales.csv' }),
      summary,
      messages: said(assistant(text('On.'))),
    });
    expect(messages.map(shown)).toEqual([
      expect.stringMatching(
        /^U Count\.\n\nAttached file: \/home\/user\/sales\.csv What was said.*:\n\nHalf is counted\.$/s,
      ),
      'A On.',
    ]);
  });

  test('of a conversation begins with what the user said, without a task', () => {
    const { messages } = prompt({ run: run({ type: 'conversation', task: '' }), messages: said(user(text('hi'))) });
    expect(messages).toEqual([user(text('hi'))]);
  });

  test('has the tools of its run alone', () => {
    const names = (options: Record<string, unknown>, type: Run['type'] = 'task') =>
      prompt({ run: run({ options, type }) }).tools.map(({ name }) => name);
    expect(names({ tools: [{ name: 'read_file', priceUsd: '1' }] })).toEqual(['read_file']);
    expect(names({ tools: [] })).toEqual([]);
    expect([names({}).includes('ask_person'), names({}, 'conversation').includes('ask_person')]).toEqual([false, true]);
  });

  const turn = (content: string): TranscriptMessage[] =>
    said(user(text('hi')), assistant(call('a')), user(result('a', content)));

  test.each([
    ['one of 2,000 characters stays', 'x'.repeat(2_000), 3, 2_000],
    ['a longer one loses its middle', `${'h'.repeat(800)}${'m'.repeat(801)}${'t'.repeat(400)}`, 3, 1_237],
    ['one after the bound stays', 'x'.repeat(2_001), 2, 2_001],
  ])('of its long results, %s', (_, content, shortenedThrough, chars) => {
    expect(firstResult({ messages: turn(content), shortenedThrough })).toHaveLength(chars);
  });

  test('says how much of a result was left out, and keeps its ends', () => {
    const content = `${'h'.repeat(800)}${'m'.repeat(5_000)}${'t'.repeat(400)}`;
    expect(firstResult({ messages: turn(content), shortenedThrough: 3 })).toBe(
      `${'h'.repeat(800)}\n[5000 characters were left out here]\n${'t'.repeat(400)}`,
    );
  });

  test('has no half of a character where a result was cut', () => {
    // Pairs of surrogates across both places where it is cut.
    const content = `x${'😀'.repeat(2_000)}`;
    const cut = firstResult({ messages: turn(content), shortenedThrough: 3 });
    expect(cut).toContain(`😀\ufffd\n[2801 characters were left out here]\n`);
    expect(/\p{Surrogate}/u.test(cut)).toBe(false);
    const tail = firstResult({ messages: turn(`${'😀'.repeat(2_000)}x`), shortenedThrough: 3 });
    expect(tail).toContain('here]\n\ufffd😀');
  });

  test('shortens no text and no call, however long', () => {
    const long = 'x'.repeat(10_000);
    const messages = said(
      user(text(long)),
      assistant(text(long), { type: 'tool_use', id: 'a', name: 'run_code', input: long }),
    );
    const { messages: shownMessages } = prompt({ messages, shortenedThrough: 9 });
    expect(JSON.stringify(shownMessages).match(/x{10000}/g)).toHaveLength(3);
  });
});
