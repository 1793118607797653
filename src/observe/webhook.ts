import { createHmac } from 'node:crypto';
import got from 'got';
import { FerryError } from '../errors.ts';

/** Where an event is sent, and what signs it. */
export interface Hook {
  readonly url: URL;
  readonly secret: string;
}

const TIMEOUT_MS = 15_000;

/**
 * Posts a JSON body. `ovaferry-signature: t=SECONDS,v1=HEX` is the HMAC-SHA-256 with the secret of the
 * time, a dot and the body, so that a receiver knows who sent it and refuses what is old.
 * `ovaferry-delivery` is the same when it is sent again.
 *
 * @throws FerryError NETWORK if it was not taken
 */
export async function postSigned(hook: Hook, delivery: string, event: object): Promise<void> {
  const body = JSON.stringify({ id: delivery, ...event });
  const seconds = Math.floor(Date.now() / 1000);
  const signature = createHmac('sha256', hook.secret).update(`${seconds}.${body}`).digest('hex');
  const { host } = hook.url; // the rest of the address may be a secret
  let status: number;
  try {
    // Of the answer only the status counts; whoever sends a body without end is not listened to.
    const request = got.stream.post(hook.url, {
      body,
      headers: {
        'content-type': 'application/json',
        'ovaferry-delivery': delivery,
        'ovaferry-signature': `t=${seconds},v1=${signature}`,
      },
      timeout: { request: TIMEOUT_MS },
      retry: { limit: 0 },
      followRedirect: false,
      throwHttpErrors: false,
    });
    status = await new Promise<number>((resolve, reject) => {
      request.once('response', ({ statusCode }: { statusCode: number }) => resolve(statusCode));
      request.once('error', reject);
    });
    request.on('error', () => undefined);
    request.destroy();
  } catch (error) {
    const { code = 'no answer' } = error as NodeJS.ErrnoException;
    throw new FerryError('NETWORK', `${host} can't be told of an event: ${code}`);
  }
  if (status >= 200 && status < 300) return;
  throw new FerryError('NETWORK', `${host} answered an event with ${status}`, {
    facts: { status },
  });
}
