/** What the metrics say of quotas: all processes read the same, whoever decided last. */
import type { QuotaGauge } from '../telemetry/metrics';
import type { Pool } from './pool';

/** The quotas of tenants, those nearest to their limit first. Floats, for graphs. */
export async function readQuotaGauges(pool: Pool, max: number): Promise<QuotaGauge[]> {
  const { rows } = await pool.query<QuotaGauge>(
    `SELECT tenant_id AS "tenantId", resource_type AS "resourceType", period, limit_usd::float8 AS "limitUsd",
            spent_usd::float8 AS "spentUsd", reserved_usd::float8 AS "reservedUsd"
     FROM copilot_internal.quota_gauges($1)`,
    [max],
  );
  return rows;
}
