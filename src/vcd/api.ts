import { FerryError } from '../errors.ts';
import { parseXml, REPLY_LIMITS, type XmlElement, XmlError } from '../xml.ts';
import { orAborted } from './abort.ts';
import { atOrigin } from './address.ts';
import { errorOfAnswer, isForeignPage, type Phase } from './answer.ts';
import type { HttpAnswer, HttpRequest, HttpStream, VcdHttp } from './http.ts';
import type { OpenSession, VcdSession } from './session.ts';

/** What belongs to one job: when to stop, and what vCD's logs should call its requests. */
export interface CallContext {
  readonly signal: AbortSignal;
  /** Names the job and its run in vCD's own logs: letters, digits and dashes. */
  readonly requestId?: string;
  /**
   * Told of each request by words without secrets, and of the API on whose behalf it goes out; what it
   * returns is told of its end.
   */
  readonly onCall?: ((label: string, origin: URL) => (end: CallEnd) => void) | undefined;
}

/** How a request ended: by an answer, or by none. */
interface CallEnd {
  readonly status?: number;
  readonly error?: unknown;
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** As the server gave it, or a path of the API's entry points. */
  readonly href: string;
  readonly body?: string;
  /** MIME type of the body. */
  readonly type?: string;
  /** In place of the XML of the version that is spoken. */
  readonly accept?: string;
  readonly phase?: Phase;
}

/** A session that is not used for so long is touched while bytes flow (vCD's own limit: 30 minutes). */
const IDLE_MS = 5 * 60_000;
/** After so many logins that were accepted, requests that still are not say something else. */
const MAX_RENEWALS = 3;
/** vCD reads at most this of a request (guide, "Request Limits"). */
const LONGEST_BODY_BYTES = 512 * 1024;

/** Requests to the API of one target: with session, version and checked answers. */
export class VcdApi {
  readonly origin: URL;
  readonly session: VcdSession;
  readonly #http: VcdHttp;
  readonly #insecure: boolean;
  readonly #idleMs: number;
  #askedAt = performance.now();

  constructor(
    origin: URL,
    parts: { http: VcdHttp; session: VcdSession; insecure: boolean; idleMs?: number | undefined },
  ) {
    this.origin = origin;
    this.session = parts.session;
    this.#http = parts.http;
    this.#insecure = parts.insecure;
    this.#idleMs = parts.idleMs ?? IDLE_MS;
  }

  /**
   * Sends a request and parses the XML that comes back; undefined for an empty answer.
   *
   * @throws FerryError as `errorOfAnswer` and `VcdHttp.send` say
   */
  async request(request: ApiRequest, context: CallContext): Promise<XmlElement | undefined> {
    const url = this.addressOf(request.href);
    const label = `${request.method} ${url.pathname}`;
    const bytes = Buffer.byteLength(request.body ?? '');
    if (bytes > LONGEST_BODY_BYTES) {
      throw new FerryError(
        'VCD_REJECTED',
        `${label} would have ${bytes} bytes; vCD reads at most ${LONGEST_BODY_BYTES}`,
        { hint: 'Give the item a shorter description or less metadata.' },
      );
    }
    const answer = await this.#sendAuthorized(request, url, label, context);
    if (answer.status < 200 || answer.status >= 300) {
      throw errorOfAnswer(answer, request.phase ?? 'object', label);
    }
    if (answer.body.trim() === '') return undefined;
    try {
      return parseXml(answer.body, REPLY_LIMITS);
    } catch (error) {
      if (!(error instanceof XmlError)) throw error;
      const what = isForeignPage(answer.body)
        ? `${label} was answered with an HTML page by something in front of vCD`
        : `what came back from ${label} ${error.message}`;
      throw new FerryError('SERVER_UNAVAILABLE', what, { cause: error });
    }
  }

  /**
   * As `get`, of the newer API, which speaks JSON.
   *
   * @throws FerryError as `request`; SERVER_UNAVAILABLE for what is no JSON object
   */
  async getJson(path: string, context: CallContext): Promise<Readonly<Record<string, unknown>>> {
    const url = this.addressOf(path);
    const label = `GET ${url.pathname}`;
    const { version } = await this.openSession(context);
    const accept = `application/json;version=${version}`;
    const request: ApiRequest = { method: 'GET', href: path, accept };
    const answer = await this.#sendAuthorized(request, url, label, context);
    if (answer.status !== 200) throw errorOfAnswer(answer, 'object', label);
    try {
      const value: unknown = JSON.parse(answer.body);
      if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
    } catch {
      // as for any other value
    }
    throw new FerryError('SERVER_UNAVAILABLE', `what came back from ${label} is not JSON`);
  }

  /** As `request`, for calls that must have an answer. */
  async get(href: string, context: CallContext, phase: Phase = 'object'): Promise<XmlElement> {
    const root = await this.request({ method: 'GET', href, phase }, context);
    if (root) return root;
    throw new FerryError(
      'SERVER_UNAVAILABLE',
      `GET ${this.addressOf(href).pathname} came back empty`,
    );
  }

  /**
   * Sends bytes to a transfer address, which is a secret: it appears in no message. The token goes
   * along, because balancers in front of vCD drop PUTs without one, but only to the target itself
   * or, over verified TLS, to a host that the target named.
   */
  async transfer(
    href: string,
    body: Buffer | AsyncIterable<Uint8Array>,
    headers: Readonly<Record<string, string>>,
    context: CallContext,
  ): Promise<void> {
    const request = await this.#transferRequest('PUT', href, headers, context);
    const keepAlive = this.#keepSession();
    try {
      const answer = await this.#send({ ...request, body }, context);
      if (answer.status >= 200 && answer.status < 300) return;
      throw errorOfAnswer(answer, 'transfer', request.label);
    } finally {
      clearInterval(keepAlive);
    }
  }

  /**
   * Asks a transfer address for bytes, under the same rules as `transfer`. To be closed.
   *
   * @returns whatever is answered
   */
  async fetchTransfer(
    href: string,
    headers: Readonly<Record<string, string>>,
    context: CallContext,
  ): Promise<HttpStream & { readonly label: string }> {
    const plain = { ...headers, 'accept-encoding': 'identity' };
    const request = await this.#transferRequest('GET', href, plain, context);
    const onEnd = context.onCall?.(request.label, this.origin);
    try {
      const stream = await this.#http.stream(request);
      onEnd?.({ status: stream.status });
      const keepAlive = this.#keepSession();
      return {
        ...stream,
        label: request.label,
        close() {
          clearInterval(keepAlive);
          stream.close();
        },
      };
    } catch (error) {
      onEnd?.({ error });
      throw error;
    }
  }

  /** @throws FerryError NOT_VCD for an address that would betray the token */
  async #transferRequest(
    method: 'GET' | 'PUT',
    href: string,
    headers: Readonly<Record<string, string>>,
    context: CallContext,
  ): Promise<HttpRequest> {
    const url = new URL(href);
    const label = `${method} of ${lastSegment(url)}`;
    if (this.origin.protocol === 'https:' && url.protocol !== 'https:') {
      throw new FerryError('NOT_VCD', `${label}: the server names an address without TLS`);
    }
    const session = await this.openSession(context);
    const verified = url.protocol === 'https:' && !this.#insecure;
    const trusted = url.origin === this.origin.origin || verified;
    const token = trusted ? session.token : {};
    return {
      ...{ method, url, label, signal: context.signal },
      headers: { ...token, ...requestIdHeader(context), ...headers },
    };
  }

  /** Transfers do not keep a session alive. */
  #keepSession(): NodeJS.Timeout {
    return setInterval(() => void this.#touchSession(), this.#idleMs / 5).unref();
  }

  async #send(request: HttpRequest, { onCall }: CallContext): Promise<HttpAnswer> {
    const onEnd = onCall?.(request.label, this.origin);
    try {
      const answer = await this.#http.send(request);
      onEnd?.({ status: answer.status });
      return answer;
    } catch (error) {
      onEnd?.({ error });
      throw error;
    }
  }

  /** Transfers do not keep the session alive, and one that was handed to us can't be had anew. */
  async #touchSession(): Promise<void> {
    if (performance.now() - this.#askedAt < this.#idleMs) return;
    this.#askedAt = performance.now();
    const signal = AbortSignal.timeout(this.#idleMs);
    await this.request({ method: 'GET', href: '/api/org' }, { signal }).catch(() => undefined);
  }

  /**
   * The API's addresses carry the public name that the server believes in; what is asked is the
   * host that was configured, which is also the only one that gets the token.
   */
  addressOf(href: string): URL {
    return atOrigin(this.origin, href);
  }

  /** A login serves all jobs: one that is stopped does not wait for it, nor end it. */
  openSession({ signal }: Pick<CallContext, 'signal'>): Promise<OpenSession> {
    return orAborted(this.session.get(), signal);
  }

  async #sendAuthorized(
    request: ApiRequest,
    url: URL,
    label: string,
    context: CallContext,
  ): Promise<HttpAnswer> {
    let session = await this.openSession(context);
    const send = ({ headers }: OpenSession): Promise<HttpAnswer> => {
      const sent: HttpRequest = {
        method: request.method,
        url,
        label,
        signal: context.signal,
        headers: {
          ...headers,
          ...(request.accept === undefined ? {} : { accept: request.accept }),
          ...(request.type === undefined ? {} : { 'content-type': request.type }),
          ...requestIdHeader(context),
        },
        ...(request.body === undefined ? {} : { body: request.body }),
      };
      return this.#send(sent, context);
    };
    this.#askedAt = performance.now();
    // The token has run out: transfers do not keep a session alive, and a cell that restarts ends all of
    // them, perhaps again. A login that is rejected ends this at once.
    for (let renewals = 0; ; renewals += 1) {
      const answer = await send(session);
      if (answer.status !== 401 || renewals === MAX_RENEWALS) return answer;
      session = await orAborted(this.session.renew(session), context.signal);
    }
  }
}

function requestIdHeader({ requestId }: CallContext): Record<string, string> {
  return requestId === undefined ? {} : { 'x-vmware-vcloud-client-request-id': requestId };
}

function lastSegment({ pathname }: URL): string {
  const segment = pathname.split('/').at(-1) ?? '';
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // a literal percent sign
  }
}
