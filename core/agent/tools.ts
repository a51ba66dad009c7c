/** The tools that every run can have, and what a call of one costs. */
import { parseAmountUsd, type Usd } from '../money';

/** What a call of a tool costs: nothing where it has no price. A model may name what every object has, such as `constructor`. */
export const priceOfTool = (pricesUsd: Readonly<Record<string, string>>, name: string): Usd =>
  Object.hasOwn(pricesUsd, name) ? parseAmountUsd(pricesUsd[name] ?? '0') : 0n;

/** The tools that a model can be given. */
export const toolNames = ['run_code', 'read_file', 'write_file', 'ask_person'] as const;
export type ToolName = (typeof toolNames)[number];

/** Whether a tool is one of these, and none of a tenant's own. */
export const isToolName = (name: string): name is ToolName => (toolNames as readonly string[]).includes(name);
