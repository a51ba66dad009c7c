/** A message as the script reads it. */
export interface ScriptMessage {
  role: string;
  content: string | { type: string; text?: string; content?: unknown; is_error?: boolean; tool_use_id?: string }[];
}
