/**
 * What caches of prompts saved of an entry of the ledger, as SQL: the rule of migrations/functions/cache_saved.sql, for what is asked of a
 * database that does not have that function yet.
 */
export const cacheSavedSql = (usage: string): string =>
  `CASE WHEN ${usage} ->> 'cacheSavedUsd' ~ '^-?[0-9]{1,9}([.][0-9]{1,12})?$' THEN (${usage} ->> 'cacheSavedUsd')::numeric ELSE 0 END`;
