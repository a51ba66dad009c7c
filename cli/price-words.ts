/** Prices in words, and how they are added. */
import type { PriceView } from '../client';
import { client } from './api';
import { author } from './options';
import { usd, type Column } from './output';
import type { PriceChange, PriceFacts } from './price-changes';

/** The day, and the time too where it is none's beginning: a day may have several versions. */
export const sinceWords = (moment: string): string => moment.slice(0, 19).replace('T00:00:00', '').replace('T', ' ');

export const changeColumns = (from: string | undefined): Column<PriceChange>[] => [
  { name: 'model', of: ({ model }) => model },
  { name: 'what', of: ({ what }) => what },
  { name: from === undefined ? 'now' : 'before', of: ({ before }) => before ?? '–', right: true },
  { name: 'becomes', of: ({ after }) => after, right: true },
];

export const nameOf = ({ priceVersion }: PriceView): string => priceVersion;

/** What was added holds until then, and nobody would be told at that moment. */
export const announcedWords = ({ effectiveFrom, priceVersion, inputUsd, outputUsd }: PriceView): string =>
  `From ${sinceWords(effectiveFrom)} on ${priceVersion} holds, as was announced before: ${usd(inputUsd)} in, ${usd(outputUsd)} out. ` +
  'To change that, add a version with a later --from.';

export const addPrices = (prices: PriceFacts[]): Promise<{ priceVersions: string[] }> =>
  client().prices.add({ prices, author: author() });
