import { isGrpcServiceError, type Connection } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { runStatusAttribute, tenantIdAttribute } from '../workflows/messages';

const keyword = 2;
const alreadyExists = 6;

/**
 * Makes sure that the namespace knows the workflows' search attributes. Where the operator API is not open (Temporal
 * Cloud), it has to be done there by hand; docs/architecture.md names them.
 */
export async function ensureSearchAttributes(
  connection: Connection | NativeConnection,
  { namespace, log }: { namespace: string; log: Logger },
): Promise<void> {
  const names = [tenantIdAttribute.name, runStatusAttribute.name];
  try {
    const known = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = names.filter((name) => !(name in known.customAttributes));
    if (missing.length === 0) return;
    const searchAttributes = Object.fromEntries(missing.map((name) => [name, keyword]));
    await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
  } catch (error) {
    if (isGrpcServiceError(error) && error.code === (alreadyExists as typeof error.code)) return;
    log.warn(
      { error: String(error), attributes: names },
      'search attributes could not be registered; register them as Keyword',
    );
  }
}
