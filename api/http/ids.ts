/** The ids that requests name. Each is brought to its one spelling here, so that all that follows sees no other. */
import { z } from '@hono/zod-openapi';
import { inOneSpelling, isUuid, tenantIdPattern, userIdCharsMax } from '../../core/ids';
import { plainText } from './text';

const uuid = (description: string) =>
  z
    .string()
    .overwrite(inOneSpelling)
    .refine(isUuid, { error: 'must be a UUID' })
    .openapi({ format: 'uuid', description: `${description}. Capitals are taken for small letters.` });

export const operationIdSchema = uuid('The operation, as it is or was reserved');
export const runIdSchema = uuid('The run or conversation');
export const turnIdSchema = uuid('The turn');
export const approvalIdSchema = uuid('What somebody is asked');
export const moneyRequestIdSchema = uuid('What people are asked for');
export const keyIdSchema = uuid('The key; not the key itself');
export const claimTokenSchema = uuid('The claim that the call was made under');

/** In a path, where what is no id names nothing that could be found. */
export const pathIdSchema = (description: string) => z.string().overwrite(inOneSpelling).openapi({ description });

export const tenantIdSchema = z
  .string()
  .regex(tenantIdPattern, { error: 'must be 1 to 64 letters, digits, dots, hyphens or underscores' })
  .openapi({ example: 'acme' });

export const userIdSchema = plainText(userIdCharsMax);
