import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reply } from './call.ts';
import { documentOf } from './xml.ts';

/** Writes an answer as vCD does: type and version in the content type, an id for the logs. */
export function respond(
  response: ServerResponse,
  reply: Reply,
  version: string,
  request?: IncomingMessage,
): void {
  const headers: Record<string, string> = { ...reply.headers };
  let body = '';
  if (reply.xml) {
    body = reply.type === undefined ? reply.xml.markup : documentOf(reply.xml);
    headers['content-type'] =
      reply.type === undefined
        ? 'text/xml'
        : `application/vnd.vmware.vcloud.${reply.type}+xml;version=${version}`;
  } else if (reply.json !== undefined) {
    body = JSON.stringify(reply.json);
    headers['content-type'] = `application/json;version=${version}`;
  }
  if (request) headers['x-vmware-vcloud-request-id'] = requestId(request);
  headers['content-length'] = String(Buffer.byteLength(body));
  response.writeHead(reply.status, headers);
  response.end(body);
}

/** The client's id, if it gave one, and ours. */
export function requestId({ headers }: IncomingMessage): string {
  const given = String(headers['x-vmware-vcloud-client-request-id'] ?? '').slice(0, 128);
  return /^[\w-]*\w[\w-]*$/.test(given) ? `${given}-${randomUUID()}` : randomUUID();
}
