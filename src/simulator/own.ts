import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody } from './call.ts';
import { ApiError } from './errors.ts';
import { parseFaultRules } from './faults.ts';
import { seenItems } from './introspection.ts';
import { respond } from './respond.ts';
import type { World } from './world.ts';

/** The simulator's own addresses, for people and tests. */
export async function serveOwn(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = '', url = '' } = request;
  let json: unknown;
  if (method === 'GET' && url === '/_simulator/items') json = seenItems(world);
  if (method === 'GET' && url === '/_simulator/requests') json = world.requests;
  if (method === 'GET' && url === '/_simulator/totals') json = world.totals;
  if (method === 'GET' && url === '/_simulator/faults') json = world.faults.counts();
  if (method === 'GET' && url === '/_simulator/accounts') json = world.sessions.accounts;
  if (method === 'POST' && url === '/_simulator/faults') {
    json = addFaults(world, (await readBody(request)).toString());
  }
  respond(response, json === undefined ? { status: 404 } : { status: 200, json }, '1');
}

function addFaults(world: World, text: string): unknown {
  try {
    for (const rule of parseFaultRules(JSON.parse(text))) world.faults.add(rule);
  } catch (error) {
    throw new ApiError(400, 'BAD_REQUEST', (error as Error).message);
  }
  return world.faults.counts();
}
