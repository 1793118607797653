import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import got, { type Got } from 'got';
import { HttpProxyAgent, HttpsProxyAgent } from 'hpagent';
import { linkedAbort } from './abort.ts';
import { networkError, silent, stalled } from './http-errors.ts';
import { type Trust, tlsOptionsOf } from './http-trust.ts';
import { watchedBody } from './watched-body.ts';

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  /** How long the whole of it may take; by default as long as something moves. */
  readonly limitMs?: number;
  /** What this request is called in messages; a transfer's address must not appear there. */
  readonly label: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** An answer whose body comes in bit by bit. */
export interface HttpStream extends Pick<HttpAnswer, 'status' | 'headers'> {
  readonly chunks: AsyncIterableIterator<Buffer>;
  close(): void;
}

export interface HttpTimeouts {
  readonly connectMs: number;
  /** Without a byte in either direction. There is no limit on the whole: transfers take hours. */
  readonly stallMs: number;
}

const DEFAULT_TIMEOUTS: HttpTimeouts = { connectMs: 10_000, stallMs: 60_000 };

/** The only opener of sockets to a vCD. Keeps connections, follows no redirect, retries nothing. */
export class VcdHttp {
  readonly #origin: URL;
  readonly #trust: Trust;
  readonly #timeouts: HttpTimeouts;
  #client: Promise<Got> | undefined;
  #close: (() => void) | undefined;
  #closeIdle: (() => void) | undefined;
  #answeredAt = Number.NEGATIVE_INFINITY;

  constructor(origin: URL, trust: Trust, timeouts: HttpTimeouts = DEFAULT_TIMEOUTS) {
    this.#origin = origin;
    this.#trust = trust;
    this.#timeouts = timeouts;
  }

  /** When anything was answered last, by the clock of `performance`. */
  get answeredAt(): number {
    return this.#answeredAt;
  }

  get #proxy(): URL | undefined {
    return this.#trust.proxy === undefined ? undefined : new URL(this.#trust.proxy);
  }

  /**
   * Sends one request and returns whatever status comes back.
   *
   * @throws FerryError NETWORK, HOST_NOT_FOUND, TLS_UNTRUSTED, NOT_VCD, TRANSFER_STALLED; the
   *   signal's reason if it was aborted
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const client = await this.#opened();
    const { method, url, signal } = request;
    signal.throwIfAborted();
    const ending = linkedAbort(signal);
    const { limitMs } = request;
    const limit =
      limitMs === undefined ? undefined : setTimeout(() => ending.abort(silent(request)), limitMs);
    try {
      const { statusCode, headers, body } = await client(url, {
        ...{ method, signal: ending.signal },
        ...this.#bodyOf(request, () => ending.abort(stalled(request))),
      });
      this.#answeredAt = performance.now();
      return { status: statusCode, headers, body };
    } catch (error) {
      throw this.#failureOf(ending.signal.aborted ? ending.signal.reason : error, request);
    } finally {
      clearTimeout(limit);
      ending.unlink();
    }
  }

  #bodyOf(
    { body, headers }: HttpRequest,
    onStall: () => void,
  ): { readonly headers: HttpRequest['headers']; readonly body?: string } {
    if (body === undefined) return { headers };
    if (typeof body === 'string') return { headers, body };
    const { stallMs } = this.#timeouts;
    const length = Buffer.isBuffer(body) ? { 'content-length': String(body.length) } : {};
    const blocks = watchedBody(Buffer.isBuffer(body) ? [body] : body, { stallMs, onStall });
    // got takes async iterables, and forgets to say so.
    return { headers: { ...headers, ...length }, body: blocks as unknown as string };
  }

  /** What went wrong in our words. The other connections that are kept may be as dead as this one. */
  #failureOf(error: unknown, request: HttpRequest): unknown {
    if (request.signal.aborted) return request.signal.reason;
    const failure = networkError(error, { ...request, proxy: this.#proxy, origin: this.#origin });
    const isSilent = failure.code === 'TRANSFER_STALLED' || failure.facts['isSilent'] === true;
    if (isSilent) this.#closeIdle?.();
    return failure;
  }

  /**
   * As `send`, with the answer's body as it comes in. To be closed.
   *
   * @throws FerryError as `send`; so do the chunks
   */
  async stream(request: HttpRequest): Promise<HttpStream> {
    const client = await this.#opened();
    request.signal.throwIfAborted();
    const { method, headers, signal, url } = request;
    // What is coded has other offsets than the file.
    const stream = client.stream(url, { method, headers, signal, decompress: false });
    const fail = (error: unknown): never => {
      throw this.#failureOf(error, request);
    };
    const answer = await new Promise<HttpStream>((resolve, reject) => {
      stream.once('error', reject);
      stream.once('response', ({ statusCode, headers: found }) => {
        resolve({
          status: statusCode,
          headers: found,
          chunks: chunksOf(stream, fail),
          close: () => stream.destroy(),
        });
      });
    }).catch(fail);
    stream.on('error', () => undefined); // the chunks tell it
    return answer;
  }

  close(): void {
    this.#close?.();
  }

  /** The next request tries again where this fails. */
  async #opened(): Promise<Got> {
    this.#client ??= this.#open();
    return this.#client.catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
  }

  async #open(): Promise<Got> {
    const { connectMs, stallMs } = this.#timeouts;
    const tls = await tlsOptionsOf(this.#origin, this.#trust, connectMs);
    const keep = { keepAlive: true, maxSockets: 64, keepAliveMsecs: 15_000 };
    const proxy = this.#trust.proxy;
    const agent =
      proxy === undefined
        ? { http: new HttpAgent(keep), https: new HttpsAgent({ ...keep, ...tls }) }
        : {
            http: new (answeringWithin(HttpProxyAgent, connectMs))({ ...keep, proxy }),
            https: new (answeringWithin(HttpsProxyAgent, connectMs))({ ...keep, ...tls, proxy }),
          };
    this.#close = () => {
      agent.http.destroy();
      agent.https.destroy();
    };
    this.#closeIdle = () => {
      const idle = [agent.http, agent.https].flatMap(({ freeSockets }) =>
        Object.values(freeSockets),
      );
      for (const socket of idle.flat()) socket?.destroy();
    };
    return got.extend({
      agent,
      https: {
        rejectUnauthorized: tls.rejectUnauthorized ?? true,
        ...(tls.ca === undefined ? {} : { certificateAuthority: tls.ca }),
        ...(tls.checkServerIdentity ? { checkServerIdentity: tls.checkServerIdentity } : {}),
      },
      // A stream can't be sent twice, and what may be repeated is for the story to decide.
      retry: { limit: 0 },
      followRedirect: false,
      throwHttpErrors: false,
      timeout: {
        ...{ lookup: connectMs, connect: connectMs, secureConnect: connectMs },
        ...{ response: stallMs, socket: stallMs },
      },
    });
  }
}

type Connect = (options: object, onConnected: unknown) => unknown;

/** A proxy that takes the connection and then says nothing is waited for as long as for a connection. */
function answeringWithin<A extends typeof HttpProxyAgent | typeof HttpsProxyAgent>(
  Agent: A,
  timeout: number,
): A {
  const { createConnection } = Agent.prototype as unknown as { createConnection: Connect };
  const Answering = class extends (Agent as typeof HttpProxyAgent) {} as unknown as A;
  Object.assign(Answering.prototype, {
    createConnection(this: unknown, options: object, onConnected: unknown) {
      return createConnection.call(this, { ...options, timeout }, onConnected);
    },
  });
  return Answering;
}

async function* chunksOf(
  stream: AsyncIterable<Buffer>,
  fail: (error: unknown) => never,
): AsyncGenerator<Buffer, void, undefined> {
  try {
    yield* stream;
  } catch (error) {
    fail(error);
  }
}
