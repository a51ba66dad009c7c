/** The tools that a model can be given. */
export const toolNames = ['run_code', 'read_file', 'write_file', 'ask_person'] as const;
export type ToolName = (typeof toolNames)[number];
