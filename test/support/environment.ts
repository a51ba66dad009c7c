/** Tests never reach a paid service: what could lead there is taken out of the environment. */
const providerVariables = /^(ANTHROPIC|E2B|OPENAI|GOOGLE_API|GEMINI)_/;

export function dropProviderKeys(environment: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(environment)) {
    if (providerVariables.test(name) || name === 'GOOGLE_API_KEY') delete environment[name];
  }
}
