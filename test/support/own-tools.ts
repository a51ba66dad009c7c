/** Tools of a tenant's own as tests register them, and runs whose model calls them. */
import { endedRun } from './http-runs';
import type { Installation } from './installation';

/** Of the arguments of a tool that is told a place. */
const placeSchema = {
  type: 'object',
  properties: { place: { type: 'string' } },
  required: ['place'],
  additionalProperties: false,
};
/** A call of it. */
export const weatherCall = { name: 'weather', input: { place: 'Oslo' } };

type ToolCallOfModel = typeof weatherCall | { name: string; input: Record<string, unknown> };

export class OwnTools {
  constructor(private readonly made: Installation) {}

  /** Registers an address as `weather`. */
  add(tenantId: string, url: string, more: object = {}) {
    const own = { name: 'weather', kind: 'http', description: 'The weather.', inputSchema: placeSchema };
    return this.made.api.call('POST', '/v1/tools', { body: { tenantId, url, ...own, ...more } });
  }

  /** Registers an MCP server as `texts`. */
  addServer(tenantId: string, url: string, more: object = {}) {
    return this.made.api.call('POST', '/v1/tools', { body: { tenantId, url, name: 'texts', kind: 'mcp', ...more } });
  }

  /** A run whose model calls tools and then answers; what each call was told, and what tools cost. */
  async ran(tenantId: string, calls: ToolCallOfModel[], tools: { name: string }[]) {
    const { stack } = this.made;
    stack.anthropic.knobs.replies = [{ text: '', tools: calls }, { text: 'Done.' }];
    const { run, runId, workflowId } = await endedRun(this.made, { task: 'Look it up.', tools }, tenantId);
    const { rows: messages } = await stack.admin.query<{
      content: { type: string; content?: string; is_error?: boolean }[];
    }>('SELECT content FROM copilot_internal.transcript_messages WHERE run_id = $1 ORDER BY sequence', [runId]);
    const told = messages.flatMap(({ content }) => content.filter(({ type }) => type === 'tool_result'));
    const { rows: costs } = await stack.admin.query<{ usd: string; settlement: string }>(
      `SELECT trim_scale(amount_usd)::text AS usd, settlement FROM copilot_internal.cost_records WHERE run_id = $1 AND kind = 'tool.call'`,
      [runId],
    );
    return { run, told: told.map(({ content }) => content ?? ''), costs, runId, workflowId };
  }

  /** That nothing of a tenant is held. */
  async settled(tenantId: string): Promise<void> {
    expect(await this.made.stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  }
}
