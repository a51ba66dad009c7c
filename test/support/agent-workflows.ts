/** Agents as users of Temporal's AI SDK integration write them: their workflows know nothing of Spendlock but how a denial is told. */
import { TemporalMCPClient, TemporalProvider } from '@temporalio/ai-sdk/workflow';
import { ActivityFailure, ApplicationFailure, executeChild, proxyActivities } from '@temporalio/workflow';
import { WorkflowStream } from '@temporalio/workflow-streams/workflow';
import { embedMany, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { denialOf } from '../../workflows/public';

const { lookUp } = proxyActivities<{ lookUp(city: string): Promise<string> }>({
  startToCloseTimeout: '30 seconds',
  retry: { maximumAttempts: 3, initialInterval: 10, backoffCoefficient: 1 },
});

const providerOf = (startToCloseSeconds = 30): TemporalProvider =>
  new TemporalProvider({
    languageModel: { streamingTopic: 'words' },
    default: {
      startToCloseTimeout: startToCloseSeconds * 1_000,
      retry: { maximumAttempts: 4, initialInterval: 10, backoffCoefficient: 1 },
    },
  });

export interface AskAgent {
  modelId: string;
  prompt: string;
  maxOutputTokens?: number;
  /** How long a call of its model may take. */
  callSeconds?: number;
}

/** What it came to, or why it did not. */
export interface AgentEnd {
  text?: string;
  failed?: string;
  message?: string;
  deniedBy?: string;
}

/** Answers with the help of a tool. */
export async function weatherAgent({ modelId, prompt, maxOutputTokens, callSeconds }: AskAgent): Promise<AgentEnd> {
  try {
    const { text } = await generateText({
      model: providerOf(callSeconds).languageModel(modelId),
      ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
      prompt,
      stopWhen: stepCountIs(4),
      tools: {
        weather: tool({
          description: 'The weather of a city.',
          inputSchema: z.object({ city: z.string() }),
          execute: ({ city }) => lookUp(city),
        }),
      },
    });
    return { text };
  } catch (error) {
    return endOf(error);
  }
}

/** Has a child answer, which names its tenant in its memo or none. */
export const parentAgent = ({ childMemo: memo, ...asked }: AskAgent & { childMemo?: object }): Promise<AgentEnd> =>
  executeChild(weatherAgent, { args: [asked], ...(memo ? { memo: { ...memo } } : {}) });

/** The same as a stream, whose pieces are published as they come. */
export async function streamingAgent({ modelId, prompt, callSeconds }: AskAgent): Promise<AgentEnd> {
  new WorkflowStream();
  let failed: unknown;
  const { text } = streamText({
    model: providerOf(callSeconds).languageModel(modelId),
    prompt,
    onError: ({ error }) => void (failed = error),
  });
  try {
    return { text: await text };
  } catch (error) {
    return endOf(failed ?? error);
  }
}

/** Looks for what two texts are alike. */
export async function embeddingAgent({ modelId, prompt, callSeconds }: AskAgent): Promise<AgentEnd> {
  try {
    const { embeddings } = await embedMany({
      model: providerOf(callSeconds).embeddingModel(modelId),
      values: [prompt, prompt],
    });
    return { text: `${embeddings.length} vectors` };
  } catch (error) {
    return endOf(error);
  }
}

/** Has the tools of an MCP server. */
export async function toolsAgent({ modelId, prompt }: AskAgent): Promise<AgentEnd> {
  const tools = await new TemporalMCPClient({ name: 'money' }).tools();
  const { text } = await generateText({
    model: providerOf().languageModel(modelId),
    prompt,
    tools,
    stopWhen: stepCountIs(4),
  });
  return { text };
}

/** The paid activity alone. */
export async function lookUpAgent({ prompt }: AskAgent): Promise<AgentEnd> {
  try {
    return { text: await lookUp(prompt) };
  } catch (error) {
    return endOf(error);
  }
}

function endOf(error: unknown): AgentEnd {
  const denial = denialOf(error);
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure)) return { failed: String(error), message: String(cause) };
  return {
    failed: cause.type ?? cause.name,
    message: cause.message,
    ...(denial ? { deniedBy: `${denial.quota.scope} $${denial.quota.limitUsd}` } : {}),
  };
}
