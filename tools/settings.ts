/** What processes that call tools are given by their environment. */
import { allowedHostsFrom, type AllowedHosts } from './addresses';
import { credentialKeysFrom, type CredentialKeys } from './credentials';

export interface ToolSettings {
  /** Seal and open credentials; without any no tool has one. */
  keys: CredentialKeys | undefined;
  /** Hosts that may be called though they are not public. */
  allowed: AllowedHosts;
}

/** Of a process that is given nothing. */
export const plainToolSettings: ToolSettings = { keys: undefined, allowed: [] };

/** @throws Error that says which variable is wrong, without repeating a key. */
export const toolSettingsFrom = (environment: NodeJS.ProcessEnv): ToolSettings => ({
  keys: credentialKeysFrom(environment),
  allowed: allowedHostsFrom(environment),
});
