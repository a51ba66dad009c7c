/** What came of a call of a tool. */

/** `known` says that its price is due, or that it is not; where nobody can tell, it is charged as unverified. */
export interface ToolAnswer {
  text: string;
  isError: boolean;
  due: 'yes' | 'no' | 'unknown';
}

export const refused = (text: string) => ({ text, isError: true as const, due: 'no' as const });
