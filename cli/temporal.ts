/** How the command line reaches Temporal: as workers do, and not for longer than a person waits. */
import { Connection, isGrpcServiceError } from '@temporalio/client';
import { signallingConnection, type TemporalServer } from '../temporal/connection';

/** @throws Error when it does not answer in time. */
export const connectToTemporal = (
  server: TemporalServer['connection'],
  connectTimeoutMs = 10_000,
): Promise<Connection> => Connection.connect({ ...signallingConnection(server), connectTimeout: connectTimeoutMs });

const notFound = 5;
/** Whether the server says that what was asked for is not there. */
export const isNotFound = (error: unknown): boolean => isGrpcServiceError(error) && Number(error.code) === notFound;
