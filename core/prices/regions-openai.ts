/**
 * What OpenAI bills of a call that one of its regional addresses served (`eu.api.openai.com` and others): a tenth more for models that were
 * released on 2026-03-05 or later, in every region alike ("Data residency" in its documentation, as of 2026-11-28). No report of usage says
 * where a call was served, so it goes by the address that it was sent to.
 */
import type { Fraction } from './prices';

/** The `inferenceGeo` of a call to a regional address. A price may have a factor of its own for it. */
export const openAiRegion = 'regional';

const regional = /^https?:[/][/][a-z]{2,}[.]api[.]openai[.]com([:/]|$)/i;
const own = /^https?:[/][/]([a-z]{2,}[.])?api[.]openai[.]com([:/]|$)/i;

/** Families that came before that day. Whatever is not among them is taken for newer, which is the dearer. */
const older = /^(ft:)?(gpt-[34]|chatgpt-|o[134](-|$)|gpt-5(-|$)|gpt-5[.][0-3](-|$)|codex-mini|gpt-oss-)/;

/** Whether calls to this address are billed as those of a region. */
export const isRegionalOpenAi = (baseURL: string | undefined): boolean =>
  baseURL !== undefined && regional.test(baseURL);

/** Whether calls to this address are OpenAI's to answer, and no other server's that speaks its protocol. It is unless one is given. */
export const isOpenAiAddress = (baseURL: string | undefined): boolean => baseURL === undefined || own.test(baseURL);

/** The factor on the token rates of a model of OpenAI's at a regional address. */
export const regionalFactorOf = (model: string): Fraction =>
  older.test(model) ? { numerator: 1n, denominator: 1n } : { numerator: 11n, denominator: 10n };
