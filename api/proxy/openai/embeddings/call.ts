/** A call of OpenAI's Embeddings, as the proxy passes it on: bounded by its bytes, since its provider counts none before. */
import { isRecord } from '../../../../core/prices/usage';
import { usageFromOpenAiEmbeddings } from '../../../../core/prices/usage-openai-embeddings';
import { UnreadReader, WholeReader } from '../../readers';
import type { AnswerReader, CallWire } from '../../wire';
import { detailsOf } from '../errors';
import { regionOf } from '../tiers';
import { askedOf } from './ask';

const wholeListReader = (): AnswerReader =>
  new WholeReader((read, { object, usage }) => {
    if (object !== 'list') return;
    read.isWhole = true;
    read.usageIsFinal = true;
    if (isRecord(usage)) read.usage = usage;
  });

export const embeddingsCall: CallWire = {
  operation: 'embeddings',
  modelOf: ({ model }) => model,
  ask: askedOf,
  reader: (isStream) => (isStream ? new UnreadReader() : wholeListReader()),
  usageOf: ({ usage }, _price, account) => usageFromOpenAiEmbeddings(usage, regionOf(account)),
  errorEvent: (failed) => `data: ${JSON.stringify({ error: detailsOf(failed) })}\n\n`,
};
