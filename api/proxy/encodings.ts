/**
 * Answers that came compressed although their providers were asked for none: as some gateways do. Their bytes pass as they are; what they
 * say is read from a copy.
 */
import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';
import { brotliDecompress, constants, createBrotliDecompress, createUnzip, unzip } from 'node:zlib';
import { promisify } from 'node:util';
import { answerBytesMax } from './answer-room';
import { isStream } from './answers';
import { readFrom } from './readers';
import type { AnswerReader, CallWire } from './wire';

/** What breaks off is read as far as it came. */
const ofZip = { finishFlush: constants.Z_SYNC_FLUSH };
const ofBrotli = { finishFlush: constants.BROTLI_OPERATION_FLUSH };

const decoders = {
  unzip: { whole: promisify(unzip), begin: () => createUnzip(ofZip) },
  brotli: { whole: promisify(brotliDecompress), begin: () => createBrotliDecompress(ofBrotli) },
};
const known = { gzip: decoders.unzip, 'x-gzip': decoders.unzip, deflate: decoders.unzip, br: decoders.brotli };

/** How it is compressed; undefined where it is not. */
function encodingOf({ headers }: IncomingMessage): string | undefined {
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? '';
  return encoding === '' || encoding === 'identity' ? undefined : encoding;
}

const decoderOf = (encoding: string): (typeof decoders)[keyof typeof decoders] | undefined =>
  Object.hasOwn(known, encoding) ? known[encoding as keyof typeof known] : undefined;

/** What an answer says that came whole; undefined where that cannot be read, or is longer than `bytesMax`. */
export async function saidIn(answer: IncomingMessage, whole: Buffer, bytesMax: number): Promise<Buffer | undefined> {
  const encoding = encodingOf(answer);
  if (encoding === undefined) return whole;
  return decoderOf(encoding)
    ?.whole(whole, { maxOutputLength: bytesMax })
    .catch(() => undefined);
}

/** Reads an answer of a call, whether it is compressed or not. */
export function readerOf(answer: IncomingMessage, call: CallWire, hasRoom: (bytes: number) => boolean): AnswerReader {
  const reader = call.reader(isStream(answer));
  const encoding = encodingOf(answer);
  if (encoding === undefined) return reader;
  const decoder = decoderOf(encoding)?.begin();
  if (decoder) return new DecodingReader(reader, decoder, isStream(answer) ? undefined : hasRoom);
  reader.read.unread = new Error(`It came in the encoding ${encoding}, which is not known here.`);
  return reader;
}

class DecodingReader implements AnswerReader {
  private encodedBytes = 0;
  private saidBytes = 0;

  /** @param hasRoom takes room for what is kept until its end. */
  constructor(
    private readonly reader: AnswerReader,
    private readonly decoder: ReturnType<(typeof decoders)[keyof typeof decoders]['begin']>,
    private readonly hasRoom: ((bytes: number) => boolean) | undefined,
  ) {
    decoder.on('data', (part: Buffer) => this.take(part));
    decoder.on('error', (error) => this.giveUp(error));
  }

  get read(): AnswerReader['read'] {
    return this.reader.read;
  }

  push(part: Buffer): void {
    this.encodedBytes += part.length;
    if (!this.decoder.destroyed) this.decoder.write(part);
  }

  async caughtUp(): Promise<void> {
    this.decoder.end();
    await finished(this.decoder).catch(() => undefined);
  }

  end(): { isBetweenEvents: boolean } {
    this.reader.end();
    // Nothing that is not compressed may be added.
    return { isBetweenEvents: false };
  }

  private take(part: Buffer): void {
    this.saidBytes += part.length;
    const { encodedBytes, saidBytes } = this;
    if (this.hasRoom && (saidBytes > answerBytesMax || !this.hasRoom(encodedBytes + saidBytes)))
      return this.giveUp(new Error('It is longer than there is room for, once it is decompressed.'));
    readFrom(this.reader, part);
    if (this.read.unread !== undefined) this.decoder.destroy();
  }

  private giveUp(error: Error): void {
    this.read.unread ??= error;
    this.decoder.destroy();
  }
}
