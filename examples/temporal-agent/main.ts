/** Runs a worker for the agent, asks it one question, and ends. The two lines that budget it are marked. */
import { randomUUID } from 'node:crypto';
import { anthropic } from '@ai-sdk/anthropic';
import { AiSdkPlugin } from '@temporalio/ai-sdk';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { SpendlockPlugin } from 'spendlock/temporal'; // the first
import * as activities from './activities';

const { SPENDLOCK_API_URL: baseUrl = '', SPENDLOCK_API_KEY: apiKey = '', TEMPORAL_ADDRESS: address = '' } = process.env;

async function main(question: string): Promise<void> {
  const connection = await NativeConnection.connect({ address });
  const taskQueue = `weather-${randomUUID()}`;
  const worker = await Worker.create({
    connection,
    taskQueue,
    activities,
    workflowsPath: require.resolve('./workflow'),
    plugins: [
      new AiSdkPlugin({ modelProvider: anthropic }),
      new SpendlockPlugin({ baseUrl, apiKey, activities: { lookUp: { estimateUsd: '0.002' } } }), // the second
    ],
  });
  const client = new Client({ connection: await Connection.connect({ address }) });
  const asking = client.workflow.execute('weatherAgent', { workflowId: taskQueue, taskQueue, args: [question] });
  process.stdout.write(`${await worker.runUntil(asking)}\n`);
  await client.connection.close();
  await connection.close();
}

void main(process.argv[2] ?? 'What is the weather in Oslo?');
