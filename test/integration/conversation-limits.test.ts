/** Calls of others that name a conversation: what one turn may cost binds them in a turn, after it, and before the first. */
import { randomUUID } from 'node:crypto';
import { TestConversation } from '../support/conversations';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('a call that names a conversation', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  test('counts for the turn that it is in, or was in last; before the first for as much', async () => {
    const tenantId = await stack.tenant('100');
    const talk = await TestConversation.start(api, tenantId, { limits: { maxCostUsd: '0.5' } });
    const reserve = async (amountUsd: string): Promise<unknown> => {
      const { status, body } = await api.call('POST', '/v1/reservations', {
        body: { operationId: randomUUID(), tenantId, runId: talk.id, resource: 'llm', amountUsd },
      });
      return status === 201 ? 'granted' : body.error;
    };
    expect([await reserve('0.4'), await reserve('0.2'), await reserve('0.1')]).toEqual([
      'granted',
      'run_limit_exceeded',
      'granted',
    ]);
    stack.anthropic.knobs.replies = [{ text: 'Hello.' }];
    await talk.say('Hello?');
    // The turn has a limit of its own, of which its call took a little.
    expect([await reserve('0.4'), await reserve('0.2')]).toEqual(['granted', 'run_limit_exceeded']);
    const child = await api.call('POST', '/v1/runs', {
      body: { tenantId, task: 'Say something.', parentRunId: talk.id },
    });
    expect(child).toMatchObject({ status: 409, body: { error: 'run_parent_refused' } });
    await talk.close();
    // What a caller holds is its own to give back, and the limit stands.
    expect([await reserve('0.2'), await reserve('0.05'), await reserve('0.05')]).toEqual([
      'run_limit_exceeded',
      'granted',
      'run_limit_exceeded',
    ]);
  });
});
