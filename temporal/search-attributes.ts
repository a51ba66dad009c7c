/** The search attributes that workflows carry, made known to a namespace. */
import { isGrpcServiceError, type Connection } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from '../telemetry/log';
import { searchAttributes } from '../contracts/messages';

/** As the server's API numbers them. */
const typeNumbers = { TEXT: 1, KEYWORD: 2, INT: 3, DOUBLE: 4, BOOL: 5, DATETIME: 6, KEYWORD_LIST: 7 };
const alreadyExists = 6;

/** Those that are not among the known ones. */
export const missingSearchAttributes = (known: object): typeof searchAttributes =>
  searchAttributes.filter(({ name }) => !(name in known));

/** Registers those that a namespace does not know; answers which. @throws where the operator API is not open. */
export async function registerSearchAttributes(
  connection: Connection | NativeConnection,
  namespace: string,
): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing = missingSearchAttributes(customAttributes);
  if (missing.length === 0) return [];
  const types = Object.fromEntries(missing.map(({ name, type }) => [name, typeNumbers[type]]));
  try {
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: types });
  } catch (error) {
    // Another process was first.
    if (!isGrpcServiceError(error) || Number(error.code) !== alreadyExists) throw error;
  }
  return missing.map(({ name }) => name);
}

/**
 * Makes sure that the namespace knows them. Where the operator API is not open (Temporal Cloud), it has to be done there by hand;
 * `npx spendlock setup` says how.
 */
export async function ensureSearchAttributes(
  connection: Connection | NativeConnection,
  { namespace, log }: { namespace: string; log: Logger },
): Promise<void> {
  await registerSearchAttributes(connection, namespace).catch((error: unknown) =>
    log.warn(
      { error, attributes: searchAttributes.map(({ name }) => name) },
      'search attributes could not be registered; `npx spendlock setup` says what to do',
    ),
  );
}
