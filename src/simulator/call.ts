import type { IncomingMessage } from 'node:http';
import { ApiError } from './errors.ts';
import type { FaultAction } from './faults.ts';
import type { Session } from './sessions.ts';
import type { World } from './world.ts';
import type { Markup } from './xml.ts';

/** A request to the API, as its handler sees it. */
export interface Call {
  readonly world: World;
  readonly session: Session;
  readonly version: string;
  /** Without its query. */
  readonly path: string;
  /** What the route's expression captured. */
  readonly params: readonly string[];
  /** The part after `?`, not decoded: the query service has rules of its own. */
  readonly search: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** What is to go wrong with this request. */
  readonly fault: FaultAction | undefined;
}

/** An answer of the API. Without `xml` the body is empty. */
export interface Reply {
  readonly status: number;
  readonly xml?: Markup;
  /** The `…` of `application/vnd.vmware.vcloud.…+xml`. */
  readonly type?: string;
  readonly json?: unknown;
  readonly html?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (call: Call) => Reply;
}

/** vCD reads at most 512 KiB of a request to the API (guide, "Request Limits"). */
const MAX_BODY_BYTES = 512 * 1024;

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new ApiError(413, 'REQUEST_TOO_LARGE', 'Request too large.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** MIME types are compared without case and parameters. */
export function contentType(headers: IncomingMessage['headers']): string {
  return (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/** Ends a connection without an answer. One that is gone has no socket any more, whatever the types say. */
export function cut({ socket }: { readonly socket: IncomingMessage['socket'] | null }): void {
  socket?.destroy();
}

/** As `cut`, with a reset. */
export function reset({ socket }: { readonly socket: IncomingMessage['socket'] | null }): void {
  socket?.resetAndDestroy();
}
