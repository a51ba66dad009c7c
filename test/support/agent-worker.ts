/** A worker of agents in a process of its own, as users write one: Temporal's AI SDK integration, and the plugin beside it. */
import { existsSync, writeFileSync } from 'node:fs';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createMCPClient } from '@ai-sdk/mcp';
import { createOpenAI } from '@ai-sdk/openai';
import { AiSdkPlugin } from '@temporalio/ai-sdk';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, NativeConnection, Worker } from '@temporalio/worker';
import { createProviderRegistry } from 'ai';
import { NotBilledError, SpendlockPlugin, type SpendlockPluginOptions } from 'spendlock/temporal';
import { budgetForOwnWorker, type OwnWorker } from 'spendlock/worker';

/** By the API, which has an MCP server too, or by Postgres. */
type Reached =
  { baseUrl: string; apiKey: string; databaseUrl?: undefined } | { databaseUrl: string; taskQueuePrefix: string };

export interface AgentWorkerOptions {
  address: string;
  taskQueue: string;
  /** Where the code of the workflows is kept for all workers of a test: the plugin adds nothing to it. */
  bundlePath: string;
  anthropicUrl: string;
  openaiUrl: string;
  googleUrl: string;
  /** Absent of a worker without the plugin. */
  plugin?: Reached &
    Pick<SpendlockPluginOptions, 'scope' | 'holdSeconds' | 'tenants' | 'tenantFrom'> & {
      /** Whether its connection has the plugin too. */
      comesTwice?: boolean;
      /** Its calls are of a user of their workflow's name. */
      usersAreWorkflows?: boolean;
    };
  /** Histories to replay, in the place of running. */
  histories?: unknown[];
}

type ModelProvider = ConstructorParameters<typeof AiSdkPlugin>[0]['modelProvider'];

const activities = {
  lookUp(city: string): Promise<string> {
    if (city === 'Nowhere') throw new NotBilledError('There is no such city.');
    if (city === 'Atlantis') throw new Error('It sank while it was looked up.');
    return Promise.resolve(`It rains in ${city}.`);
  },
};

async function budgetAt(
  address: string,
  reached: { databaseUrl: string; taskQueuePrefix?: string },
): Promise<OwnWorker> {
  const { databaseUrl, taskQueuePrefix = '' } = reached;
  const client = new Client({ connection: await Connection.connect({ address }) });
  return budgetForOwnWorker({ databaseUrl, taskQueuePrefix, client });
}

/** The scope that is asked for, with a user of the workflow's name. */
const ofWorkflow =
  (scope: SpendlockPluginOptions['scope']): SpendlockPluginOptions['scope'] =>
  ({ workflowExecution }) => ({
    ...(typeof scope === 'object' ? scope : {}),
    ...(workflowExecution ? { userId: workflowExecution.workflowId } : {}),
  });

async function main(): Promise<void> {
  const options = JSON.parse(process.env.AGENT_WORKER ?? '{}') as AgentWorkerOptions;
  const { address, taskQueue, bundlePath, anthropicUrl, openaiUrl, googleUrl, plugin, histories } = options;
  const anthropic = createAnthropic({ apiKey: 'stand-in', baseURL: `${anthropicUrl}/v1` });
  const openai = createOpenAI({ apiKey: 'stand-in', baseURL: openaiUrl });
  const google = createGoogleGenerativeAI({ apiKey: 'stand-in', baseURL: `${googleUrl}/v1beta` });
  const registry = createProviderRegistry({ anthropic, openai, google });
  const paid = {
    lookUp: {
      estimateUsd: (city: string) => (city === 'Everywhere' ? '1000' : '0.01'),
      cost: (answer: string, city: string) => ({
        costUsd: '0.004',
        usage: { city: city.length, letters: answer.length },
      }),
      kind: 'weather.lookup',
    },
    'money-callTool': { estimateUsd: '0.001' },
  };
  const mcpClientFactories = {
    money: () =>
      createMCPClient({
        transport: {
          type: 'http' as const,
          url: `${plugin && 'baseUrl' in plugin ? plugin.baseUrl : ''}/v1/mcp`,
          headers: { authorization: `Bearer ${plugin && 'apiKey' in plugin ? plugin.apiKey : ''}` },
        },
      }),
  };
  const budget = plugin?.databaseUrl === undefined ? undefined : await budgetAt(address, plugin);
  const scope = plugin?.usersAreWorkflows ? { scope: ofWorkflow(plugin.scope) } : {};
  const spendlock =
    plugin &&
    new SpendlockPlugin({
      ...(budget ? { ...plugin, budget } : plugin),
      ...{ ...scope, activities: paid },
    } as SpendlockPluginOptions);
  const plugins = [
    new AiSdkPlugin({ modelProvider: registry as unknown as ModelProvider, mcpClientFactories }),
    ...(spendlock ? [spendlock] : []),
  ];
  if (!existsSync(bundlePath)) {
    const { code } = await bundleWorkflowCode({ workflowsPath: require.resolve('./agent-workflows'), plugins });
    writeFileSync(bundlePath, code);
  }
  const workflowBundle = { codePath: bundlePath };
  if (histories) {
    for (const history of histories) await Worker.runReplayHistory({ workflowBundle, plugins }, history);
    process.send?.({ replayed: histories.length });
    return;
  }
  const connection = await NativeConnection.connect({
    address,
    ...(spendlock && plugin.comesTwice ? { plugins: [spendlock] } : {}),
  });
  const worker = await Worker.create({ connection, taskQueue, workflowBundle, activities, plugins });
  const running = worker.run();
  process.send?.({ isUp: true });
  process.once('SIGTERM', () => worker.shutdown());
  await running;
  await budget?.close();
  await connection.close();
  process.disconnect?.();
}

void main();
