/** The routes under /v1/approvals: what people are asked, and what they decide. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { decideApprovalSignal } from '../../contracts/messages';
import { decideApproval, findApproval, listApprovals, type Approval } from '../../store/approvals';
import { everybody, whoDecides } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { answeredBy, whyOver } from '../http/temporal-answers';
import { once } from '../http/idempotency';
import { approvalIdSchema, runIdSchema } from '../http/ids';
import { body, json, postRoute, route } from '../http/openapi';
import { cursorOf, pageQuery, placeOf } from '../http/pages';
import type { ApiEnv } from '../http/request';
import { tenantQuery } from '../http/schemas';
import * as schemas from './schemas';

const place = z.tuple([z.uuid()]);

const approvalViewOf = ({ toolUseId: _, ...approval }: Approval): schemas.ApprovalView => ({
  ...approval,
  createdAt: approval.createdAt.toISOString(),
  decidedAt: approval.decidedAt?.toISOString() ?? null,
});

export function approvalRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, temporal } = dependencies;
  app.openapi(
    route(
      { operationId: 'listApprovals', summary: 'List what people are asked', tag: 'Approvals', access: everybody },
      {
        method: 'get',
        path: '/v1/approvals',
        request: { query: tenantQuery.extend({ runId: runIdSchema.optional(), ...pageQuery }) },
        responses: {
          200: json(
            schemas.approvalsView,
            'What people are asked and have not answered; with `runId` all of that run or conversation',
          ),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, runId, cursor, limit } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const [afterApprovalId] = placeOf(cursor, place) ?? [];
      const { approvals, hasMore } = await listApprovals(pool, { tenantId, runId, afterApprovalId, limit });
      const last = approvals.at(-1);
      const nextCursor = cursorOf(hasMore && last ? [last.approvalId] : undefined);
      return c.json({ approvals: approvals.map(approvalViewOf), nextCursor }, 200);
    },
  );
  app.openapi(
    postRoute(
      {
        operationId: 'decideApproval',
        summary: 'Approve, refuse or answer what is asked',
        tag: 'Approvals',
        access: whoDecides,
        refuses: ['approval_decided'],
      },
      {
        path: '/v1/approvals/{id}',
        request: {
          params: z.object({ id: approvalIdSchema }),
          body: body(schemas.approvalBody, { decision: 'approve', author: 'Jo Doe' }),
        },
        responses: { 200: json(schemas.approvalView, 'The decision is recorded') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const approvalId = c.req.valid('param').id;
      return once(c, dependencies, asked, async () => {
        const { decision, answer, author = `API key ${c.get('caller').apiKeyId}` } = asked;
        await refuseEnded(dependencies, { tenantId, approvalId }, asked);
        const decided = await decideApproval(
          pool,
          { tenantId, approvalId },
          { decision, answer, decidedBy: author, key: c.get('caller') },
        );
        if (!decided) throw new ApiError('not_found', `There is no approval ${approvalId}.`);
        refuseOther(decided, asked);
        // What is recorded stands; a workflow that does not hear of it now looks by itself later.
        await answeredBy(temporal, () =>
          temporal.workflow.getHandle(decided.workflowId).signal(decideApprovalSignal, { approvalId }),
        ).catch((error: unknown) => dependencies.log.warn({ approvalId, error }, 'a decision could not be signalled'));
        const { workflowId: _, ...approval } = decided;
        return { status: 200, body: approvalViewOf(approval) };
      });
    },
  );
}

/** @throws ApiError where whoever asked has ended, or was told to: nobody is to approve what nobody does. */
async function refuseEnded(
  { pool, temporal }: ApiDependencies,
  key: { tenantId: string; approvalId: string },
  { decision }: schemas.ApprovalBody,
): Promise<void> {
  const approval = await findApproval(pool, key);
  if (decision === 'refuse' || approval?.status !== 'pending') return;
  const over = await whyOver(temporal, approval.workflowId);
  if (over)
    throw new ApiError(
      'approval_decided',
      `The workflow ${approval.workflowId} ${over}, and waits for no decision any more. Nothing was decided.`,
    );
}

/** @throws ApiError when somebody decided otherwise before, or when it cannot be decided so. */
function refuseOther(approval: Approval, { decision, answer }: schemas.ApprovalBody): void {
  const wanted = { approve: 'approved', refuse: 'refused', answer: 'answered' }[decision];
  if (approval.status === wanted && (answer === undefined || approval.answer === answer)) return;
  if (approval.status === 'pending')
    throw new ApiError(
      'invalid_request',
      `decision: ${approval.kind === 'question' ? 'a question is answered or refused' : 'an approval is approved or refused'}. Nothing was decided.`,
    );
  throw new ApiError(
    'approval_decided',
    approval.status === 'withdrawn'
      ? 'Nobody waits for this decision any more: the turn was stopped, or the run ended.'
      : `It was ${approval.status} before by ${approval.decidedBy ?? 'somebody'}. That stands.`,
  );
}
