/** How a process turns values into what Temporal keeps: encrypted when the environment has keys. */
import type { DataConverter } from '@temporalio/common';
import { payloadKeysFrom } from './keys';
import { EncryptingCodec } from './payload-codec';

/** Undefined without keys: Temporal's own converter is used then. @throws PayloadKeysError */
export function dataConverterFrom(environment: NodeJS.ProcessEnv): DataConverter | undefined {
  const keys = payloadKeysFrom(environment);
  return (
    keys && { payloadCodecs: [new EncryptingCodec(keys)], failureConverterPath: require.resolve('./failure-converter') }
  );
}
