/** Prompts of all sorts, for tests of what they may cost at most: texts that tokenizers like least, files, settings, forms of answers. */
import fc from 'fast-check';
import { toolSpec } from '../../activities/llm/instructions';
import type { Block, Prompt, PromptMessage, ToolSpec } from '../../activities/llm/model-provider';
import { wellFormed } from '../../activities/llm/prompt';
import { problemOfSchema, type AnswerSchema } from '../../core/agent/answer-schema';
import { problemOfFile } from '../../core/agent/model-files';
import { efforts, problemOfSettings, type ModelSettings } from '../../core/agent/model-settings';
import { toolNames } from '../../core/agent/tools';
import { jpegOf, pngOf, webPOf } from './images';

export const samples = [
  'The invoice of March shows a total that nobody expected.',
  'Счёт за март показывает неожиданную сумму.',
  '三月份的发票总额出乎所有人的意料。',
  'مجموع فاتورة مارس لم يتوقعه أحد. ﷺ ﷽',
  '3월 청구서의 합계는 아무도 예상하지 못했습니다.',
  'मार्च के बिल का कुल योग अप्रत्याशित है।',
  '👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 ✅ 🫠',
  'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢',
  'for (let i = 0; i < n; i += 1) {\n\tif (!a[i]?.b) continue; // "why"\n}\r\n',
  '{"id":1,"rows":[[1,2.5,-3e9],[null,true,""]],"path":"C:\\\\temp"}',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  '  \n\n\t\t      \u00a0\u2003\u200b',
  'a,b;c\n1,2;3\n"4, 5";6\n',
  'YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=+/0123456789',
  '\ud800 half of a pair \udfff, \u0000 and \u001b[31m',
];
const text = fc.oneof(
  fc.constantFrom(...samples),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.tuple(fc.constantFrom(...samples), fc.integer({ min: 1, max: 60 })).map(([said, times]) => said.repeat(times)),
);
const record = fc.dictionary(fc.string({ minLength: 1, maxLength: 20 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 });
const id = fc.integer({ min: 0, max: 8 }).map((number) => `toolu_${number}`);
const toolUse = fc.record({
  type: fc.constant('tool_use' as const),
  id,
  name: fc.constantFrom(...toolNames),
  input: fc.oneof(
    record,
    text.map((code) => ({ code, language: 'python' })),
  ),
});
const toolResult = fc.record({
  type: fc.constant('tool_result' as const),
  tool_use_id: id,
  content: text,
  is_error: fc.boolean(),
});
const textBlock = text.map((said): Block => ({ type: 'text', text: said }));
const message = fc.oneof(
  fc.array(fc.oneof(textBlock, toolResult), { maxLength: 4 }).map((content) => ({ role: 'user' as const, content })),
  fc.array(fc.oneof(textBlock, toolUse), { maxLength: 4 }).map((content) => ({ role: 'assistant' as const, content })),
);
const tool: fc.Arbitrary<ToolSpec> = fc.oneof(
  fc.constantFrom(...toolNames).map((name) => toolSpec(name, ['python', 'javascript'])),
  fc.record({ name: fc.stringMatching(/^[a-z_]{1,40}$/), description: text, inputSchema: record }),
);
export const opening: PromptMessage = {
  role: 'user',
  content: [{ type: 'text', text: 'Attached file: /home/user/a.csv' }],
};

const side = fc.integer({ min: 1, max: 4_000 });
const rest = fc.uint8Array({ maxLength: 6_000 });
const file = fc
  .oneof(
    fc
      .tuple(
        fc.constantFrom(
          ...([
            ['image/png', pngOf],
            ['image/jpeg', jpegOf],
            ['image/webp', webPOf('VP8 ')],
            ['image/webp', webPOf('VP8X')],
            ['image/gif', () => Buffer.from('GIF89a')],
          ] as const),
        ),
        side,
        side,
      )
      .map(([[mediaType, make], width, height]) => ({ mediaType, begin: make(width, height) })),
    fc.constant({ mediaType: 'application/pdf', begin: Buffer.from('%PDF-1.7\n') }),
  )
  .chain(({ mediaType, begin }) =>
    fc
      .record({ name: fc.constantFrom('a', 'счёт за март'), content: rest.map((more) => Buffer.concat([begin, more])) })
      .map((made) => ({ ...made, mediaType })),
  );

const described = (schema: fc.Arbitrary<AnswerSchema>): fc.Arbitrary<AnswerSchema> =>
  fc.tuple(schema, fc.option(text, { nil: undefined })).map(([made, description]) => ({
    ...made,
    ...(description === undefined ? {} : { description }),
  }));
const { value } = fc.letrec<{ value: AnswerSchema; object: AnswerSchema }>((tie) => ({
  value: described(
    fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      fc.constantFrom<AnswerSchema>({ type: 'string' }, { type: 'number' }, { type: ['boolean', 'null'] }),
      fc.array(text, { minLength: 1, maxLength: 4 }).map((values) => ({ enum: values })),
      tie('value').map((items) => ({ type: 'array', items })),
      tie('object'),
    ),
  ),
  object: fc
    .dictionary(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 }), tie('value'), { maxKeys: 5 })
    .map((properties) => closed(properties)),
}));
const closed = (properties: Record<string, AnswerSchema>): AnswerSchema => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
/** Closed, as all providers take them. */
const answerSchema = fc
  .dictionary(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 }), value, { maxKeys: 5 })
  .map(closed)
  .filter((schema) => problemOfSchema(schema) === undefined);

const settings = fc.record(
  {
    effort: fc.constantFrom(...efforts),
    thinkingBudgetTokens: fc.integer({ min: 0, max: 3_000 }),
    temperature: fc.double({ min: 0, max: 2, noNaN: true }),
    stopSequences: fc.array(fc.constantFrom('END', '\n\n', '```'), { maxLength: 3 }),
  },
  { requiredKeys: [] },
);

/** What of them a model takes. */
function taken(named: { provider: string; model: string }, asked: ModelSettings): ModelSettings {
  let kept: ModelSettings = {};
  for (const name of Object.keys(asked) as (keyof ModelSettings)[]) {
    const more: ModelSettings = { ...kept, [name]: asked[name] };
    if (problemOfSettings(named, more, { maxOutputTokens: answerTokensMax }) === undefined) kept = more;
  }
  return kept;
}
/** The answers that these settings are for. */
export const answerTokensMax = 4_000;

/** What a run asks of a model that takes it. */
export const promptFor = (named: { provider: string; model: string }): fc.Arbitrary<Prompt> =>
  fc
    .record({
      system: text,
      tools: fc.uniqueArray(tool, { maxLength: 6, selector: ({ name }) => name }),
      said: fc.array(message, { maxLength: 12, size: 'max' }),
      shown: fc.option(
        file.filter((one) => problemOfFile(named, one) === undefined),
        { nil: undefined },
      ),
      asked: fc.option(settings, { nil: undefined }),
      form: fc.option(answerSchema, { nil: undefined }),
      isLast: fc.boolean(),
    })
    .map(({ system, tools, said, shown, asked, form, isLast }) => {
      const { name = '', mediaType = '', content = Buffer.from('') } = shown ?? {};
      const block: Block = { type: 'file', name, mediaType, data: content.toString('base64') };
      // Where a run has its file: at the begin.
      const first = { ...opening, content: [...(shown ? [block] : []), ...opening.content] };
      return {
        ...{ system, tools, messages: wellFormed([first, ...said]) },
        ...(asked ? { settings: taken(named, asked) } : {}),
        ...(form ? { answerSchema: form } : {}),
        ...(isLast ? { callsNoTools: true as const } : {}),
      };
    });
