-- Runs and conversations: their turns, transcripts, files and events, what people are asked, and what streams while it is written.
SET LOCAL ROLE spendlock_owner;

-- A run is a row before it is a workflow. A conversation is a run that is asked more than once; while it is open its status is
-- `running`.
CREATE TABLE copilot_internal.runs (
  run_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  user_id text,
  workflow_id text NOT NULL,
  model text NOT NULL,
  task text NOT NULL,
  options jsonb NOT NULL DEFAULT '{}',
  status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'quota_exceeded', 'failed', 'cancelled')),
  answer text,
  failure jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  -- When its workflow was last asked for or seen. The process between the row and the workflow may die, and an operator may
  -- terminate a workflow, whose row then never ends by itself.
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  type text NOT NULL DEFAULT 'task' CHECK (type IN ('task', 'conversation')),
  -- Why nothing happens: money that its next step waits for.
  waiting jsonb,
  transcript_forgotten_at timestamptz,
  events_forgotten_at timestamptz,
  -- Where its workflow was asked for. Null where it is not known: of rows that an older version wrote.
  namespace text,
  CONSTRAINT runs_task_check CHECK (length(task) <= 100000 AND (type = 'conversation') = (task = '')),
  CHECK ((status = 'running') = (ended_at IS NULL))
);
CREATE INDEX runs_by_tenant ON copilot_internal.runs (tenant_id, created_at DESC);
CREATE INDEX runs_by_status ON copilot_internal.runs (tenant_id, status, created_at DESC);
CREATE INDEX runs_by_namespace ON copilot_internal.runs (namespace) WHERE namespace IS NOT NULL;
CREATE INDEX runs_unseen ON copilot_internal.runs (seen_at) WHERE status = 'running';
CREATE INDEX runs_with_transcript ON copilot_internal.runs (ended_at)
  WHERE ended_at IS NOT NULL AND transcript_forgotten_at IS NULL;
CREATE INDEX runs_with_events ON copilot_internal.runs (ended_at)
  WHERE ended_at IS NOT NULL AND events_forgotten_at IS NULL;

CREATE TABLE copilot_internal.run_files (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  name text NOT NULL CHECK (name ~ '^[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}$'),
  content bytea NOT NULL CHECK (length(content) <= 20971520),
  PRIMARY KEY (run_id, name)
);

-- What the model saw and said, in the provider's message format.
CREATE TABLE copilot_internal.transcript_messages (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  sequence integer NOT NULL CHECK (sequence >= 0),
  role text NOT NULL CHECK (role IN ('user', 'assistant')),
  content jsonb NOT NULL,
  operation_id uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, sequence)
);

-- What the model is told in place of messages that were summarised, and from where on tool results are shortened.
CREATE TABLE copilot_internal.context_compactions (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- The last message that it stands for.
  through_sequence integer NOT NULL CHECK (through_sequence > 0),
  -- Null: tool results up to there are shortened, and nothing is left out.
  summary text,
  operation_id uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE NULLS NOT DISTINCT (run_id, through_sequence, operation_id)
);

-- What happened in a run, numbered from 1 without a gap. `event_key` makes a repeated write one event.
CREATE TABLE copilot_internal.run_events (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  sequence integer NOT NULL CHECK (sequence > 0),
  event_key text NOT NULL,
  type text NOT NULL,
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, sequence),
  UNIQUE (run_id, event_key)
);

-- A user's message and what came of it. They are answered in the order of their numbers, one at a time.
CREATE TABLE copilot_internal.turns (
  turn_id uuid PRIMARY KEY,
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  number integer NOT NULL CHECK (number > 0),
  message text NOT NULL CHECK (length(message) BETWEEN 1 AND 100000),
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'running', 'completed', 'quota_exceeded', 'failed', 'interrupted', 'cancelled')),
  failure jsonb,
  -- The step whose number its message took; its model calls come after.
  opening_step integer CHECK (opening_step > 0),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  UNIQUE (run_id, number),
  CHECK ((status IN ('queued', 'running')) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX turns_running ON copilot_internal.turns (run_id) WHERE status = 'running';
CREATE INDEX turns_queued ON copilot_internal.turns (run_id, number) WHERE status = 'queued';

-- What a person is asked: whether a tool may be used, or a question that the model has.
CREATE TABLE copilot_internal.approvals (
  approval_id uuid PRIMARY KEY,
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  turn_id uuid,
  step integer NOT NULL,
  tool_use_id text NOT NULL,
  tool text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('approval', 'question')),
  -- What the tool would be given, or the question.
  input jsonb NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'refused', 'answered', 'withdrawn')),
  answer text,
  decided_by text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  decided_at timestamptz,
  -- When the workflow that asked learnt what was decided: the process that was to tell it may have ended in between.
  told_at timestamptz,
  UNIQUE (run_id, step, tool_use_id),
  CHECK ((status = 'pending') = (decided_at IS NULL)),
  CHECK ((status = 'answered') <= (answer IS NOT NULL AND kind = 'question'))
);
CREATE INDEX approvals_pending ON copilot_internal.approvals (tenant_id, created_at) WHERE status = 'pending';
CREATE INDEX approvals_untold ON copilot_internal.approvals (decided_at)
  WHERE told_at IS NULL AND status IN ('approved', 'refused', 'answered');

-- A reply while it is written, for those who watch. It is gone when the reply is stored, and may be lost in a crash: the reply is
-- not.
CREATE UNLOGGED TABLE copilot_internal.reply_deltas (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  operation_id uuid NOT NULL,
  -- Characters of the reply before it.
  position integer NOT NULL CHECK (position >= 0),
  text text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, operation_id, position)
);

RESET ROLE;
