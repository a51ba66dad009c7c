/** What operators changed, and which alerts were raised. */
import type { alertsQuery, alertsView, auditQuery, auditView } from '../api/records/schemas';
import type { Http } from './http';
import type { Given, Of } from './views';

export type AuditView = Of<typeof auditView>;
export type AlertsView = Of<typeof alertsView>;
type AuditQuery = Omit<Given<typeof auditQuery>, 'limit'> & { limit?: number };
type AlertsQuery = Omit<Given<typeof alertsQuery>, 'limit'> & { limit?: number };

/** The newest first: of a tenant, or for administration without one what is of none. */
export const auditOf = (http: Http) => ({
  list: (query: AuditQuery = {}) => http.get<AuditView>('/v1/audit', query),
});
/** The newest first. */
export const alertsOf = (http: Http) => ({
  list: (query: AlertsQuery = {}) => http.get<AlertsView>('/v1/alerts', query),
});
