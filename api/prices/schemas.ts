/** What the routes of prices take and give. */
import { z } from '@hono/zod-openapi';
import { ratePattern } from '../../core/prices/prices';
import { author, day, moment } from '../http/schemas';
import { plainWords } from '../http/text';

/** Six decimals per million tokens are a whole number of pico-dollars per token. */
const rate = z
  .string({ error: 'must be a decimal string of US dollars per million tokens' })
  .regex(ratePattern, {
    error: 'must be a plain decimal of 0 or more, below 1000000 and with at most six decimals',
  })
  .openapi({ example: '1.25' });
const optionalRate = rate
  .nullish()
  .openapi({ description: 'Null when there is no such thing to bill. "0" is free, which is something else.' });
const rates = {
  inputUsd: rate,
  outputUsd: rate,
  cacheReadUsd: optionalRate,
  cacheWrite5mUsd: optionalRate,
  cacheWrite1hUsd: optionalRate,
};
const factors = z.record(
  z.string().min(1).max(40),
  z.string().regex(/^(?!0*[.]?0*$)(0|[1-9][0-9]{0,3})([.][0-9]{1,6})?$/, { error: 'must be a decimal above 0' }),
);

const figures = {
  provider: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be lower case, such as anthropic' }),
  model: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/, { error: "must be the provider's exact name" }),
  ...rates,
  longContext: z
    .strictObject({ thresholdTokens: z.int().gt(0).lte(2_147_483_647), ...rates })
    .nullish()
    .openapi({ description: 'The rates of the whole request when its prompt has more tokens than the threshold.' }),
  webSearchPerThousandUsd: optionalRate,
  multipliers: z
    .strictObject({ serviceTier: factors.optional(), speed: factors.optional(), inferenceGeo: factors.optional() })
    .optional()
    .openapi({ description: 'Factors on every token rate.', example: { serviceTier: { batch: '0.5' } } }),
};
/** A price that is only tried. */
export const triedPrice = z.strictObject(figures);
const priceFields = {
  ...figures,
  notes: z.string().max(1_000).optional(),
  source: plainWords(500).openapi({ description: 'Who published the figures.' }),
  sourceDate: day.openapi({ description: 'The day on which the source said so.' }),
};
export const priceView = z.object({ priceVersion: z.string(), effectiveFrom: z.string(), ...priceFields });
export const addPricesBody = z.strictObject({
  prices: z
    .array(
      z.strictObject({
        ...priceFields,
        effectiveFrom: moment.optional().openapi({ description: 'Now when absent.' }),
      }),
    )
    .min(1)
    .max(1_000),
  author,
});

/** US dollars for each second: at most twelve decimals, below a dollar. */
const secondRate = z
  .string({ error: 'must be a decimal string of US dollars a second' })
  .regex(/^0([.][0-9]{1,12})?$/, {
    error: 'must be a plain decimal of 0 or more, below 1 and with at most twelve decimals',
  })
  .openapi({ example: '0.000014' });
const sandboxPriceFields = {
  provider: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be lower case, such as e2b' })
    .default('e2b'),
  tier: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, { error: 'must be lower case, such as standard' }),
  vcpu: z.int().min(1).max(1_024),
  memoryMib: z.int().min(1).max(16_777_216),
  vcpuSecondUsd: secondRate,
  gibSecondUsd: secondRate,
  notes: z.string().max(1_000).optional(),
  source: plainWords(500).openapi({ description: 'Who published the figures.' }),
};
export const sandboxPriceView = z.object({
  priceVersion: z.string(),
  effectiveFrom: z.string(),
  ...sandboxPriceFields,
  provider: sandboxPriceFields.provider.unwrap(),
});
export const addSandboxPriceBody = z.strictObject({
  ...sandboxPriceFields,
  sourceDate: day.openapi({ description: 'The day on which the source said so.' }),
  effectiveFrom: moment.optional().openapi({ description: 'Now when absent.' }),
  author,
});
