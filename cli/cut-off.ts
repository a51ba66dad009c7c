/**
 * A command that a signal ends while the API carries out what it ordered says that it may have been done, and what shows whether it was.
 * All requests of commands pass here. A signal that another part of the command listens to, such as Ctrl-C in a chat, is left to it.
 */
import type { SentRequest } from '../client/http';
import { CommandError, tell, wantsJson } from './failures';
import { lookAt, openOrders, unanswered, type Order } from './orders';

/** Sends a request, and knows of it until it is answered. */
export async function watched(
  { method, to, body: text = '{}' }: SentRequest,
  send: () => Promise<Response>,
): Promise<Response> {
  const { pathname } = new URL(to);
  const path = pathname.slice(pathname.indexOf('/v1/'));
  if (method === 'GET' || path === '/v1/quota-checks') return send();
  const key = `${path} ${text}`;
  if (openOrders.size === 0) for (const signal of signals) process.on(signal, cutOff);
  openOrders.set(key, { path, body: JSON.parse(text) as Order['body'] });
  const response = await send();
  if (isAnswered(response)) openOrders.delete(key);
  if (openOrders.size === 0) for (const signal of signals) process.off(signal, cutOff);
  return response;
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One that failed in the middle, or is still carried out for the request before, may have been done. */
const isAnswered = ({ status }: Response): boolean => status < 500 && status !== 409;

/** Carries out what a command does past the API. One that a signal ends says by `soFar` what was done, and what may have been. */
export async function tellingOfEnd<T>(soFar: () => string, work: () => Promise<T>): Promise<T> {
  const end = (signal: NodeJS.Signals): void => {
    const error = new CommandError(`Ended by ${nameOf(signal)}. ${soFar()}`, 'interrupted');
    process.exit(tell(error, { json: wantsJson(process.argv) }));
  };
  for (const signal of signals) process.on(signal, end);
  try {
    return await work();
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}

const nameOf = (signal: NodeJS.Signals): string => (signal === 'SIGINT' ? 'Ctrl-C' : signal);

function cutOff(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  const order = unanswered();
  if (!order) return;
  const what = order.path === '/v1/runs' ? 'The run may have begun' : 'What was ordered may have been done';
  const error = new CommandError(
    `Ended by ${nameOf(signal)} before the API had answered. ${what}, or may be in a moment. ` +
      `Before you order it again, see: npx spendlock ${lookAt(order).join(' ')}`,
    'interrupted',
  );
  process.exit(tell(error, { json: wantsJson(process.argv) }));
}
