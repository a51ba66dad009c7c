/** A tool of a tenant's own, at an address of this machine, that a case calls. */
import { addTool } from '../../store/tools';
import type { TestStack } from '../../test/support/stack';
import { ToolAddresses } from '../../test/support/tool-servers';

const name = 'weather';
const inputSchema = { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] };

/** Registers it, for runs that begin from now on. @returns what serves it, to be closed after the run. */
export async function addOwnTool(stack: TestStack, tenantId: string): Promise<ToolAddresses> {
  const addresses = await ToolAddresses.start();
  await addTool(stack.pool, {
    tenantId,
    by: { author: 'recorder' },
    tool: {
      name,
      kind: 'http',
      url: `${addresses.url}/weather`,
      method: 'POST',
      shown: [{ name, description: 'The weather of a place.', inputSchema }],
      requiresApproval: false,
      priceUsd: undefined,
      timeoutSeconds: 30,
      resultBytesMax: 100_000,
    },
    credential: undefined,
    replaces: false,
  });
  return addresses;
}
