import { FerryError } from '../errors.ts';
import { parseXml, REPLY_LIMITS, type XmlElement, XmlError } from '../xml.ts';
import { errorOfAnswer, type Phase } from './answer.ts';
import type { HttpAnswer, HttpRequest, VcdHttp } from './http.ts';
import type { OpenSession, VcdSession } from './session.ts';

/** What belongs to one job: when to stop, and what vCD's logs should call its requests. */
export interface CallContext {
  readonly signal: AbortSignal;
  /** Names the job and its run in vCD's own logs: letters, digits and dashes. */
  readonly requestId?: string;
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** As the server gave it, or a path of the API's entry points. */
  readonly href: string;
  readonly body?: string;
  /** MIME type of the body. */
  readonly type?: string;
  readonly phase?: Phase;
}

/** Requests to the API of one target: with session, version and checked answers. */
export class VcdApi {
  readonly origin: URL;
  readonly session: VcdSession;
  readonly #http: VcdHttp;
  readonly #insecure: boolean;

  constructor(origin: URL, parts: { http: VcdHttp; session: VcdSession; insecure: boolean }) {
    this.origin = origin;
    this.session = parts.session;
    this.#http = parts.http;
    this.#insecure = parts.insecure;
  }

  /**
   * Sends a request and parses the XML that comes back; undefined for an empty answer.
   *
   * @throws FerryError as `errorOfAnswer` and `VcdHttp.send` say
   */
  async request(request: ApiRequest, context: CallContext): Promise<XmlElement | undefined> {
    const url = this.addressOf(request.href);
    const label = `${request.method} ${url.pathname}`;
    const answer = await this.#sendAuthorized(request, url, label, context);
    if (answer.status < 200 || answer.status >= 300) {
      throw errorOfAnswer(answer, request.phase ?? 'object', label);
    }
    if (answer.body.trim() === '') return undefined;
    try {
      return parseXml(answer.body, REPLY_LIMITS);
    } catch (error) {
      if (!(error instanceof XmlError)) throw error;
      throw new FerryError('SERVER_UNAVAILABLE', `what came back from ${label} ${error.message}`, {
        cause: error,
      });
    }
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
    const url = new URL(href);
    const label = `PUT of ${lastSegment(url)}`;
    if (this.origin.protocol === 'https:' && url.protocol !== 'https:') {
      throw new FerryError('NOT_VCD', `${label}: the server names an address without TLS`);
    }
    const session = await this.#session(context);
    const verified = url.protocol === 'https:' && !this.#insecure;
    const trusted = url.origin === this.origin.origin || verified;
    const { accept: _accept, ...token } = session.headers;
    const answer = await this.#http.send({
      method: 'PUT',
      url,
      headers: { ...(trusted ? token : {}), ...requestIdHeader(context), ...headers },
      body,
      signal: context.signal,
      label,
    });
    if (answer.status >= 200 && answer.status < 300) return;
    throw errorOfAnswer(answer, 'transfer', label);
  }

  /**
   * The API's addresses carry the public name that the server believes in; what is asked is the
   * host that was configured, which is also the only one that gets the token.
   */
  addressOf(href: string): URL {
    const url = new URL(href, this.origin);
    return new URL(url.pathname + url.search, this.origin);
  }

  /** A login serves all jobs: one that is stopped does not wait for it, nor end it. */
  #session({ signal }: CallContext): Promise<OpenSession> {
    return orAborted(this.session.get(), signal);
  }

  async #sendAuthorized(
    request: ApiRequest,
    url: URL,
    label: string,
    context: CallContext,
  ): Promise<HttpAnswer> {
    const session = await this.#session(context);
    const send = (headers: Readonly<Record<string, string>>): Promise<HttpAnswer> => {
      const sent: HttpRequest = {
        method: request.method,
        url,
        label,
        signal: context.signal,
        headers: {
          ...headers,
          ...(request.type === undefined ? {} : { 'content-type': request.type }),
          ...requestIdHeader(context),
        },
        ...(request.body === undefined ? {} : { body: request.body }),
      };
      return this.#http.send(sent);
    };
    const answer = await send(session.headers);
    if (answer.status !== 401) return answer;
    // The token has run out: transfers do not keep a session alive. Once, then it is final.
    return send((await this.session.renew(session)).headers);
  }
}

/** Whether two addresses mean the same thing of a server, whose public name may change. */
export function isSameHref(a: string, b: string): boolean {
  return pathOf(a) === pathOf(b);
}

/** An address without the host. */
export function pathOf(href: string): string {
  return URL.canParse(href) ? new URL(href).pathname : href;
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

/** The promise's outcome, or the signal's reason if that comes first. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => undefined); // nobody may be waiting for it any more
  signal.throwIfAborted();
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
