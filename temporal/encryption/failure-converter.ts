/** Failures whose message and stack travel as a payload, and so encrypted. Loaded by its path, also inside the workflow sandbox. */
import { DefaultFailureConverter } from '@temporalio/common';

export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
