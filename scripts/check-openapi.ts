/**
 * Looks over the API's OpenAPI document, which people read and generate clients from: by the rules of a linter, all of which hold
 * but those below. Looks over a file instead if one is named.
 */
import { readFileSync } from 'node:fs';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { createApp } from '../api/app';
import type { ApiDependencies } from '../api/http/context';

/** Rules that do not hold, each with its reason. */
const rules = {
  // `default` describes every failure of every route, in one form.
  'operation-4xx-response': 'off',
} as const;

/** Nothing of it is asked for while routes are only described. */
async function ownDocument(): Promise<string> {
  const unused = { closing: new AbortController().signal } as ApiDependencies;
  return (await createApp(unused).request('/openapi.json')).text();
}

async function main([file]: string[]): Promise<void> {
  const config = await createConfig({ extends: ['recommended-strict'], rules });
  const source = file === undefined ? await ownDocument() : readFileSync(file, 'utf8');
  const problems = await lintFromString({ source, absoluteRef: 'openapi.json', config });
  for (const { ruleId, message, location } of problems)
    console.log(`${location[0]?.pointer ?? ''}: ${message} (${ruleId})`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

void main(process.argv.slice(2));
