import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Reply } from './call.ts';
import { documentOf } from './xml.ts';

const WORTH_COMPRESSING = 256;

function takesGzip(request: IncomingMessage | undefined): boolean {
  return /\bgzip\b/.test(String(request?.headers['accept-encoding'] ?? ''));
}

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
        : `application/vnd.vmware.vcloud.${reply.type}+xml${version === '' ? '' : `;version=${version}`}`;
  } else if (reply.json !== undefined) {
    body = JSON.stringify(reply.json);
    headers['content-type'] =
      version === '' ? 'application/json' : `application/json;version=${version}`;
  } else if (reply.html !== undefined) {
    body = reply.html;
    headers['content-type'] = 'text/html;charset=utf-8';
  }
  // The web server itself knows nothing of requests' ids.
  if (request && reply.html === undefined) {
    headers['x-vmware-vcloud-request-id'] = requestId(request);
    headers['x-vmware-vcloud-request-execution-time'] = '1';
    headers['vary'] = 'Accept-Encoding, User-Agent';
  }
  let bytes = Buffer.from(body);
  if (bytes.length >= WORTH_COMPRESSING && takesGzip(request)) {
    bytes = gzipSync(bytes);
    headers['content-encoding'] = 'gzip';
  }
  headers['content-length'] = String(bytes.length);
  response.writeHead(reply.status, headers);
  response.end(bytes);
}

/** The client's id, if it gave one, and ours. */
export function requestId({ headers }: IncomingMessage): string {
  const given = String(headers['x-vmware-vcloud-client-request-id'] ?? '').slice(0, 128);
  return /^[\w-]*\w[\w-]*$/.test(given) ? `${given}-${randomUUID()}` : randomUUID();
}
