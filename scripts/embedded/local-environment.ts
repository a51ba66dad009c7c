/** What a process of an installation of this machine is given of the caller's environment. */

/** Of another Temporal, or of a deployment with versions: not for a server that was started here, whose workers nobody promotes. */
const notHere = /^(TEMPORAL_|SPENDLOCK_BUILD_ID$)/;

/** The environment without what would lead a process to another Temporal. */
export const localEnvironment = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !notHere.test(name)));
