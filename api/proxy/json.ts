/** Whatever a provider sends, read as JSON. */
import { isRecord } from '../../core/prices/usage';

/** What is no object of JSON is undefined. */
export function objectFrom(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
