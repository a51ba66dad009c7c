/** The options that say how a model is to answer, as the API gets them. */
import { Command } from 'commander';
import { addSettings, settingsFrom, type SettingsOptions } from '../../../cli/model-settings';

const settingsOf = (...said: string[]): ReturnType<typeof settingsFrom> => {
  const command = addSettings(new Command('start'));
  return settingsFrom(command.parse(said, { from: 'user' }).opts<SettingsOptions>());
};

test('name whom else to ask, in order, and how long a prompt is kept', async () => {
  const said = ['--fallback-model', 'gpt-4o', '--fallback-model', 'gemini-2.5-flash', '--prompt-caching', '1h'];
  expect(await settingsOf(...said)).toEqual({
    fallbackModels: ['gpt-4o', 'gemini-2.5-flash'],
    promptCaching: '1h',
  });
  expect(await settingsOf('--effort', 'high')).toEqual({ settings: { effort: 'high' } });
  expect(await settingsOf()).toEqual({});
  const more = ['--temperature', '0.2', '--stop', 'END', '--stop', 'FIN', '--thinking-budget', '2048'];
  expect(await settingsOf(...more)).toEqual({
    settings: { temperature: 0.2, stopSequences: ['END', 'FIN'], thinkingBudgetTokens: 2048 },
  });
});

test('name its tools, and what it does when it is denied money', async () => {
  expect(await settingsOf('--tool', 'weather', '--tool', 'run_code', '--on-denied', 'ask', '--ask-days', '2')).toEqual({
    tools: [{ name: 'weather' }, { name: 'run_code' }],
    onDenied: 'ask',
    askDays: 2,
  });
});

test('refuse a schema that cannot be read, or is none, as wrong use', async () => {
  await expect(settingsOf('--answer-schema', 'no-such-file.json')).rejects.toMatchObject({
    ...{ code: 'commander.invalidArgument', message: expect.stringContaining('there is no such file') as string },
  });
  await expect(settingsOf('--answer-schema', __filename)).rejects.toMatchObject({
    ...{ code: 'commander.invalidArgument', message: expect.stringContaining('is no JSON Schema') as string },
  });
});
