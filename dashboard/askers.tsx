/** Who asks for money, with the way to see more of it. */
import type { ComponentChildren } from 'preact';
import type { CurrentKey } from './api';
import { runAddress } from './places';

interface AskerProps {
  tenantId: string;
  links: CurrentKey['links'];
  runId: string | null;
  workflowId: string | null;
}

/** Who asked: a run, a workflow of one's own, or a program by HTTP. */
export function Asker({ tenantId, links, runId, workflowId }: AskerProps) {
  if (runId !== null) return <a href={runAddress(tenantId, runId)}>{runId.slice(0, 8)}</a>;
  if (workflowId !== null) return <WorkflowLink links={links} workflowId={workflowId} />;
  return <span class="faint">from outside</span>;
}

/** A workflow's place in Temporal UI, where the address of that is known. */
export function WorkflowLink({
  links,
  workflowId,
  children = workflowId,
}: {
  links: CurrentKey['links'];
  workflowId: string;
  children?: ComponentChildren;
}) {
  if (links.workflow === undefined) return <code>{children}</code>;
  return (
    <a
      href={links.workflow.replace('{workflowId}', encodeURIComponent(workflowId))}
      title={`${workflowId} in Temporal UI`}
      rel="noreferrer"
      target="_blank"
    >
      {children}
    </a>
  );
}
