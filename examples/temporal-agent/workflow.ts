/** An agent with a tool, as Temporal's AI SDK integration has one. Of its budget it knows how a denial is told, and nothing else. */
import { temporalProvider } from '@temporalio/ai-sdk/workflow';
import { proxyActivities } from '@temporalio/workflow';
import { generateText, stepCountIs, tool } from 'ai';
import { denialOf } from 'spendlock/workflow';
import { z } from 'zod';
import type { lookUp } from './activities';

const activities = proxyActivities<{ lookUp: typeof lookUp }>({ startToCloseTimeout: '1 minute' });

export async function weatherAgent(question: string): Promise<string> {
  try {
    const { text } = await generateText({
      model: temporalProvider.languageModel('claude-haiku-4-5'),
      prompt: question,
      stopWhen: stepCountIs(5),
      tools: {
        weather: tool({
          description: 'The weather of a city.',
          inputSchema: z.object({ city: z.string() }),
          execute: ({ city }) => activities.lookUp(city),
        }),
      },
    });
    return text;
  } catch (error) {
    const denial = denialOf(error);
    if (!denial) throw error;
    return `There is no money left for this: ${denial.quota.scope} limit of $${denial.quota.limitUsd}.`;
  }
}
