/** Whom a change of limits, keys, prices or books is put down to. */
/** Who orders a change: an API key, and the name of the person behind it. */
export interface Operator {
  apiKeyId?: string | undefined;
  author: string;
}
