/** Models whose calls no price bounds, told by their names. */

/** Of OpenAI's: they search by themselves, for a fee that no report of usage has. */
export const searchesByItself = (model: string): boolean => /(^|-)search-(preview|api)(-|$)/.test(model);

/** Of Google's: their answer is no text alone, at rates that no price has. */
export const answersBeyondText = (model: string): boolean => /(^|-)(audio|image|live|tts)(-|$)/.test(model);
