/** Tools of one's own, as the stand-ins for models call them. */
import { argumentsFor, offeredTools, toolsToUse } from '../../../scripts/stand-ins/offered-tools';
import { scriptedReply } from '../../../scripts/stand-ins/script';
import type { ScriptMessage } from '../../../scripts/stand-ins/script-message';

const schema = { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] };
const weather = { name: 'weather', schema };
const task: ScriptMessage = { role: 'user', content: 'Use weather, and say how it is.' };
const resultOf = (content: unknown): ScriptMessage => ({ role: 'user', content: [{ type: 'tool_result', content }] });

test.each([
  [
    'Anthropic',
    [
      { name: 'weather', input_schema: schema },
      { type: 'web_search_20250305', name: 'web_search' },
    ],
  ],
  ['OpenAI', [{ type: 'function', name: 'weather', parameters: schema }]],
  ['OpenAI, in chats', [{ type: 'function', function: { name: 'weather', parameters: schema } }]],
  ['Google', [{ functionDeclarations: [{ name: 'weather', parametersJsonSchema: schema }] }]],
])('are read as %s has them', (_, tools) => {
  expect(offeredTools(tools)).toEqual([weather]);
});

test('none are read of what is no list of tools', () => {
  expect([undefined, 'weather', [null, 1, { name: 'weather' }]].map(offeredTools)).toEqual([[], [], []]);
});

test.each([
  ['Use weather.', ['weather']],
  ['please use the tool maps__route-to and use weather', ['weather', 'maps__route-to']],
  ['How is the weather?', []],
  ['Use weather-stations', []],
  ['Use run_code', []],
])('%s: uses %j', (words, used) => {
  const offered = ['weather', 'maps__route-to', 'run_code'].map((name) => ({ name, schema }));
  expect(toolsToUse([{ role: 'user', content: words }], offered).tools.map(({ name }) => name)).toEqual(used);
});

test('are called once, with what their schema wants, and what they answered is told, however it comes', () => {
  const tools = [weather, { name: 'clock', schema: { type: 'object', properties: {} } }];
  const both: ScriptMessage = { role: 'user', content: 'Use weather and use clock.' };
  expect(scriptedReply([both], { tools })).toMatchObject({
    tools: [
      { name: 'weather', input: { place: 'example' } },
      { name: 'clock', input: {} },
    ],
  });
  const note: ScriptMessage = { role: 'user', content: 'You have $1 left.' };
  const answered = scriptedReply(
    [both, { role: 'assistant', content: [] }, resultOf('21 degrees'), resultOf('noon'), note],
    { tools },
  );
  expect(answered).toEqual({
    text: expect.stringMatching(/^I used weather and clock, .*21 degrees\nnoon\n\n.*stand-in/s) as string,
  });
});

test('are not called at a last call', () => {
  expect(scriptedReply([task], { tools: [weather], callsNoTools: true })).not.toHaveProperty('tools');
});

test.each<[object, unknown]>([
  [{ type: 'object' }, {}],
  [
    {
      type: 'object',
      required: ['a', 'b', 'c', 'd', 'e', 'f'],
      properties: {
        a: { enum: ['x', 'y'] },
        b: { type: 'integer', minimum: 5 },
        c: { type: ['boolean', 'null'] },
        d: { type: 'array', items: {} },
        e: { type: 'object', required: ['g'], properties: { g: { const: 7 } } },
        f: true,
        left: { type: 'string' },
      },
    },
    { a: 'x', b: 5, c: true, d: [], e: { g: 7 }, f: 'example' },
  ],
])('arguments for %j', (asked, expected) => {
  expect(argumentsFor(asked)).toEqual(expected);
});
