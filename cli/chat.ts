/**
 * `npx spendlock chat`: talks with an agent. A reply is shown as it is written; Ctrl-C stops the turn, a second one leaves; what the
 * agent asks is answered in place.
 */
import { Command } from 'commander';
import { SpendlockApiError, type SpendlockClient, type StreamEvent } from '../client';
import { toolNames } from '../core/agent/tools';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { exitStatuses, tell } from './failures';
import { readAttached } from './files';
import { Teller } from './happenings';
import { Lines } from './lines';
import { addSettings, settingsFrom, type SettingsOptions } from './model-settings';
import { amount, author, example, labelOption, uuid } from './options';
import { printable } from './output';

interface ChatOptions extends SettingsOptions {
  file?: string;
  model?: string;
  user?: string;
  maxCost?: string;
  label?: Labels;
  ask?: boolean;
  close?: boolean;
  json?: boolean;
}

export function chatCommand(): Command {
  const chat = new Command('chat')
    .argument('<tenant>')
    .argument('[conversation]', 'one that is there already; a new one when absent', uuid)
    .description('talks with an agent: each line that you type is a message')
    .option('--file <path>', 'a file for a new conversation')
    .option('--model <name>', 'the model of a new conversation')
    .option('--user <id>', 'on whose account a new one is, beside the tenant')
    .option('--max-cost <usd>', 'what each turn of a new one may cost at most', amount)
    .addOption(labelOption('what all that a new one spends is for'))
    .option('--ask', 'in a new one: ask you before code is run')
    .option('--close', 'end the conversation when you leave')
    .addHelpText(
      'after',
      `
Ctrl-C stops what the agent does; a second one, or one while nothing is done, leaves. So does the end of the input (Ctrl-D). The
conversation stays open unless --close is said. What the agent asks is answered by y, by n, or by words for it.
With --json each event is one JSON object on a line of its own.
Exit statuses: 0 left, 1 failed, 3 the last message was denied money.`,
    );
  addSettings(chat);
  return example(
    chat,
    'chat acme',
    'chat acme --file sales.csv --max-cost 0.50',
    'chat acme --tool weather --tool run_code --on-denied wait',
    'chat acme --close   # with messages from a pipe, one a line',
  ).action(async (tenantId: string, conversationId: string | undefined, options: ChatOptions) => {
    await new Chat(client(), tenantId, options).talk(conversationId);
  });
}

/** What is under way. */
interface Turn {
  /** By Ctrl-C. */
  isStopped: boolean;
  /** Nobody is asked anything for it any more. */
  over: AbortController;
}
interface Asked {
  approvalId: string;
  isQuestion: boolean;
  /** What it wants to use. */
  tool: string;
  signal: AbortSignal;
}

class Chat {
  private readonly teller = new Teller();
  private readonly left = new AbortController();
  private readonly lines = new Lines(() => this.interrupt());
  private conversationId = '';
  private turn: Turn | undefined;
  /** What the agent asked in this conversation; each ends when somebody has decided. */
  private readonly asked = new Map<string, AbortController>();
  /** One question after the other. */
  private asking = Promise.resolve();

  constructor(
    private readonly api: SpendlockClient,
    private readonly tenantId: string,
    private readonly options: ChatOptions,
  ) {}

  async talk(conversationId: string | undefined): Promise<void> {
    const { tenantId } = this;
    try {
      this.conversationId = await this.begin(conversationId);
      for (;;) {
        const message = await this.lines.next('> ', this.left.signal);
        if (message === undefined) break;
        if (message.trim() !== '') await this.say(message);
      }
      this.teller.endLine();
      if (this.options.close) await this.api.conversations.close(this.conversationId, { tenantId });
      else console.error(`  · To go on: npx spendlock chat ${tenantId} ${this.conversationId}`);
    } finally {
      this.lines.close();
    }
    // A stream that was left is not waited for.
    if (this.left.signal.aborted) process.exit(process.exitCode ?? exitStatuses.done);
  }

  /** Makes a conversation, or finds the one that was named. */
  private async begin(named: string | undefined): Promise<string> {
    const { tenantId } = this;
    if (named !== undefined) return (await this.api.conversations.get(named, { tenantId })).conversationId;
    const { file, model, user, maxCost, lastCall, label, ask = false } = this.options;
    const settings = await settingsFrom(this.options);
    const tools = settings.tools ?? toolNames.map((name) => ({ name }));
    const { conversationId } = await this.api.conversations.create({
      tenantId,
      ...(file === undefined ? {} : { file: await readAttached(file) }),
      ...(model === undefined ? {} : { model }),
      ...(user === undefined ? {} : { userId: user }),
      ...(label === undefined ? {} : { labels: label }),
      ...settings,
      ...(ask ? { tools: tools.map(({ name }) => ({ name, requiresApproval: name === 'run_code' })) } : {}),
      limits: omitUndefined({ maxCostUsd: maxCost, lastCall }),
    });
    return conversationId;
  }

  /** One turn, to its end. What the API refuses of it is told, and the conversation goes on. */
  private async say(message: string): Promise<void> {
    const { tenantId } = this;
    const turn = (this.turn = { isStopped: false, over: new AbortController() });
    process.exitCode = exitStatuses.done;
    try {
      const events = this.api.conversations.stream(this.conversationId, {
        tenantId,
        message,
        signal: this.left.signal,
      });
      for await (const event of events) this.happened(event, turn);
    } catch (error) {
      if (this.left.signal.aborted) return;
      if (!(error instanceof SpendlockApiError)) throw error;
      this.teller.endLine();
      process.exitCode = tell(error, this.options);
    } finally {
      this.turn = undefined;
      turn.over.abort();
      this.teller.endLine();
    }
  }

  private happened(event: StreamEvent, turn: Turn): void {
    const { type, data } = event;
    const approvalId = String(data.approvalId);
    if (type === 'approval.decided') this.asked.get(approvalId)?.abort();
    if (this.options.json) console.log(printable(JSON.stringify({ type, ...data })));
    else this.teller.tell(event);
    if (type === 'approval.requested') {
      const decided = new AbortController();
      this.asked.set(approvalId, decided);
      const signal = AbortSignal.any([decided.signal, turn.over.signal]);
      const isQuestion = data.kind === 'question';
      this.asking = this.asking
        .then(() => this.ask({ approvalId, isQuestion, tool: String(data.tool), signal }))
        .catch((error: unknown) => void tell(error, this.options));
    }
    if (type === 'done' && data.status === 'failed') process.exitCode = exitStatuses.failed;
  }

  /** Asks the person what the agent asks, unless somebody else is faster. */
  private async ask({ approvalId, isQuestion, tool, signal }: Asked): Promise<void> {
    if (signal.aborted) return;
    const line = await this.lines.next(isQuestion ? 'your answer> ' : `allow ${tool}? (y, n, or why not)> `, signal);
    if (signal.aborted) return;
    if (line === undefined) {
      this.teller.note(`nobody is here to answer: npx spendlock approvals list ${this.tenantId}`);
      return;
    }
    const by = { tenantId: this.tenantId, author: author() };
    if (isQuestion) await this.api.approvals.answer(approvalId, line, by);
    else if (/^y(es)?$/i.test(line.trim())) await this.api.approvals.approve(approvalId, by);
    else if (/^(no?)?$/i.test(line.trim())) await this.api.approvals.refuse(approvalId, by);
    else await this.api.approvals.refuse(approvalId, { ...by, reason: line });
  }

  /** Ctrl-C: the first stops the turn, the next one leaves. */
  private interrupt(): void {
    if (!this.turn || this.turn.isStopped) {
      this.left.abort();
      return;
    }
    this.turn.isStopped = true;
    this.turn.over.abort();
    this.teller.note('stopping; Ctrl-C once more leaves');
    this.api.conversations
      .interrupt(this.conversationId, { tenantId: this.tenantId })
      .catch((error: unknown) => void tell(error, this.options));
  }
}
