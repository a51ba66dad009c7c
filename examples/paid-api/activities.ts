/** The paid call itself: one request to a geocoding service that bills $0.005 for each address that it finds. */
import { NotBilledError, type OwnWorker } from 'spendlock/worker';

export interface GeocodingActivities {
  geocode(request: { tenantId: string; operationId: string; address: string }): Promise<string>;
}

export const createGeocodingActivities = (budget: OwnWorker, serviceUrl: string): GeocodingActivities => ({
  geocode: ({ address, ...operation }) =>
    budget.paid(operation, async () => {
      const response = await fetch(`${serviceUrl}/lookup?address=${encodeURIComponent(address)}`, {
        signal: AbortSignal.timeout(10_000),
      });
      if (response.status === 429) throw new NotBilledError('The geocoding service asked to slow down.');
      if (response.status === 404) throw new NotBilledError('The address is not known.', false);
      const { position } = (await response.json()) as { position: string };
      return { costUsd: '0.005', result: position };
    }),
});
