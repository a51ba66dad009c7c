/** What Temporal's workflow runtime finds in its sandbox and not in Node. Import it before anything of `@temporalio/workflow`. */
import { AsyncLocalStorage } from 'node:async_hooks';

Object.assign(globalThis, { AsyncLocalStorage });
