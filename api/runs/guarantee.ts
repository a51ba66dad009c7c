/** What a run may surely spend (`limits.guaranteedUsd`): checked, and on which resources it is to be held. */
import type { AgentRunInput } from '../../contracts/messages';
import type { Labels } from '../../core/labels';
import { parseAmountUsd } from '../../core/money';
import { mayBeGranted, tool } from '../../core/resources';
import { readGate } from '../../store/gate';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { coverOf } from '../tenants/gate';
import type { StartRunBody } from './schemas';

/** What a run may surely spend is part of what it may spend. */
export function checkGuarantee({ limits: { guaranteedUsd, maxCostUsd } }: StartRunBody): void {
  if (
    guaranteedUsd !== undefined &&
    maxCostUsd !== undefined &&
    parseAmountUsd(guaranteedUsd) > parseAmountUsd(maxCostUsd)
  )
    throw new ApiError(
      'invalid_request',
      `limits.guaranteedUsd: ${guaranteedUsd} is above limits.maxCostUsd, ${maxCostUsd}. Nothing was stored.`,
    );
}

/**
 * The resources that a run's money is held on from its begin: of those that it may use the ones that a limit allows anything, as limits are
 * now, and models in any case. A step of another is asked of the limits, as all that is beyond the envelope, and is granted or refused by them.
 */
export async function guaranteedOn(
  { pool }: Pick<ProcessDependencies, 'pool'>,
  {
    tenantId,
    labels,
    body,
    tools = {},
  }: {
    tenantId: string;
    labels: Labels | undefined;
    body: StartRunBody;
    tools: AgentRunInput['tools'];
  },
): Promise<Pick<AgentRunInput, 'guaranteedOn'>> {
  if (body.limits.guaranteedUsd === undefined) return {};
  const { userId } = body;
  const state = await readGate(pool, { tenantId, userId, labels });
  const isPriced = Object.values(tools).some((rule) => rule?.priceUsd !== undefined);
  const others = ['e2b', ...(isPriced ? [tool] : [])].filter((resource) => {
    const { payer, covering } = coverOf(state, { resource, userId, labels });
    return mayBeGranted(payer.resource, covering);
  });
  return { guaranteedOn: ['llm', ...others] };
}
