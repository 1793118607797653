import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { connect, type PeerCertificate, rootCertificates } from 'node:tls';
import got, { type Got, RequestError } from 'got';
import { HttpProxyAgent, HttpsProxyAgent } from 'hpagent';
import { FerryError } from '../errors.ts';

/** How a server is reached and what of it is believed. */
export interface Trust {
  /** Additional CA certificates, PEM. */
  readonly ca?: string;
  /** SHA-256 of the one certificate that is accepted, hexadecimal. */
  readonly certificateSha256?: string;
  /** No verification at all. */
  readonly insecure?: boolean;
  readonly proxy?: string;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  /** What this request is called in messages; a transfer's address must not appear there. */
  readonly label: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
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

  constructor(origin: URL, trust: Trust, timeouts: HttpTimeouts = DEFAULT_TIMEOUTS) {
    this.#origin = origin;
    this.#trust = trust;
    this.#timeouts = timeouts;
  }

  /**
   * Sends one request and returns whatever status comes back.
   *
   * @throws FerryError NETWORK, HOST_NOT_FOUND, TLS_UNTRUSTED, NOT_VCD, TRANSFER_STALLED; the
   *   signal's reason if it was aborted
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    this.#client ??= this.#open();
    const client = await this.#client.catch((error: unknown) => {
      this.#client = undefined; // so that the next request tries again
      throw error;
    });
    request.signal.throwIfAborted();
    try {
      const { statusCode, headers, body } = await client(request.url, {
        method: request.method,
        headers: request.headers,
        signal: request.signal,
        ...(request.body === undefined ? {} : { body: request.body as string }),
      });
      return { status: statusCode, headers, body };
    } catch (error) {
      request.signal.throwIfAborted();
      throw networkError(error, request);
    }
  }

  close(): void {
    this.#close?.();
  }

  async #open(): Promise<Got> {
    const tls = await this.#tlsOptions();
    const keep = { keepAlive: true, maxSockets: 64, keepAliveMsecs: 15_000 };
    const proxy = this.#trust.proxy;
    const agent =
      proxy === undefined
        ? { http: new HttpAgent(keep), https: new HttpsAgent({ ...keep, ...tls }) }
        : {
            http: new HttpProxyAgent({ ...keep, proxy }),
            https: new HttpsProxyAgent({ ...keep, ...tls, proxy }),
          };
    this.#close = () => {
      agent.http.destroy();
      agent.https.destroy();
    };
    const { connectMs, stallMs } = this.#timeouts;
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
      timeout: { lookup: connectMs, connect: connectMs, secureConnect: connectMs, socket: stallMs },
    });
  }

  async #tlsOptions(): Promise<TlsOptions> {
    const { ca, certificateSha256, insecure, proxy } = this.#trust;
    if (insecure) return { rejectUnauthorized: false };
    if (certificateSha256 !== undefined && this.#origin.protocol === 'https:') {
      return pinnedTo(this.#origin, certificateSha256, {
        proxy,
        timeoutMs: this.#timeouts.connectMs,
      });
    }
    // In addition to the authorities that Node knows, which `ca` alone would replace.
    return ca === undefined ? {} : { ca: [...rootCertificates, ca] };
  }
}

interface TlsOptions {
  rejectUnauthorized?: boolean;
  ca?: string[];
  allowPartialTrustChain?: boolean;
  checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/**
 * Trusts one certificate and nothing else: fetches it, compares its digest with the pin, and then
 * makes it the only authority, so that TLS itself refuses any other before a byte is sent.
 */
async function pinnedTo(origin: URL, pin: string, way: Way): Promise<TlsOptions> {
  const wanted = pin.replaceAll(':', '').toLowerCase();
  const matches = (certificate: PeerCertificate): boolean =>
    certificate.fingerprint256.replaceAll(':', '').toLowerCase() === wanted;
  const certificate = await fetchCertificate(origin, way);
  if (!matches(certificate)) {
    throw new FerryError(
      'TLS_UNTRUSTED',
      `${origin.host} shows a certificate other than the pinned one`,
      { facts: { host: origin.host, sha256: certificate.fingerprint256 } },
    );
  }
  const pem = `-----BEGIN CERTIFICATE-----\n${certificate.raw.toString('base64')}\n-----END CERTIFICATE-----\n`;
  return {
    ca: [pem],
    allowPartialTrustChain: true,
    checkServerIdentity: (_host, shown) =>
      matches(shown) ? undefined : new Error('not the pinned certificate'),
  };
}

/** How to get to a host. */
interface Way {
  readonly proxy: string | undefined;
  readonly timeoutMs: number;
}

async function fetchCertificate(origin: URL, way: Way): Promise<PeerCertificate> {
  const tunnel = way.proxy === undefined ? undefined : await openTunnel(origin, way.proxy, way);
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...(tunnel
        ? { socket: tunnel }
        : { host: origin.hostname, port: Number(origin.port || 443) }),
      ...(isIP(origin.hostname) === 0 ? { servername: origin.hostname } : {}),
      rejectUnauthorized: false, // only looked at: nothing is sent over this connection
      timeout: way.timeoutMs,
    });
    const fail = (error: Error): void => {
      socket.destroy();
      reject(networkError(error, { url: origin, label: `connection to ${origin.host}` }));
    };
    socket.once('error', fail);
    socket.once('timeout', () => fail(new Error('timed out')));
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerCertificate();
      socket.destroy();
      resolve(certificate);
    });
  });
}

/** A connection to a host through a proxy (RFC 9110 §9.3.6). */
function openTunnel(origin: URL, proxy: string, { timeoutMs }: Way): Promise<Socket> {
  const { hostname, port, username, password } = new URL(proxy);
  const label = `connection to ${origin.host} through the proxy ${hostname}`;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const basic = `Basic ${Buffer.from(credentials).toString('base64')}`;
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      ...{ method: 'CONNECT', hostname, port: port || 80, timeout: timeoutMs },
      path: `${origin.hostname}:${origin.port || 443}`,
      headers: username === '' ? {} : { 'proxy-authorization': basic },
    });
    const fail = (error: Error): void => {
      request.destroy();
      reject(networkError(error, { url: new URL(proxy), label }));
    };
    request.once('error', fail);
    request.once('timeout', () => fail(new Error('timed out')));
    request.once('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      fail(new FerryError('NETWORK', `${label} was answered ${statusCode}`));
    });
    request.end();
  });
}

const UNTRUSTED: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its chain ends in an unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its authority is not known',
  UNABLE_TO_GET_ISSUER_CERT: 'its authority is not known',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its authority is not known',
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  CERT_UNTRUSTED: 'it is not trusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another host name',
};

/** What went wrong below HTTP, in words and without the address of a transfer. */
function networkError(
  error: unknown,
  { url, label }: Pick<HttpRequest, 'url' | 'label'>,
): FerryError {
  if (error instanceof FerryError) return error;
  const code = codeOf(error);
  const details = { cause: error, facts: { host: url.host, errno: code } };
  const untrusted = UNTRUSTED[code];
  if (untrusted !== undefined) {
    return new FerryError(
      'TLS_UNTRUSTED',
      `the certificate of ${url.host} is not trusted: ${untrusted}`,
      details,
    );
  }
  const { event } = error as { event?: string };
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || event === 'lookup') {
    const why = code === 'ENOTFOUND' ? 'is not known' : 'could not be looked up';
    return new FerryError('HOST_NOT_FOUND', `the host ${url.hostname} ${why}`, details);
  }
  if (code === 'EPROTO') {
    return new FerryError('NOT_VCD', `${url.host} does not speak TLS`, details);
  }
  // Only no progress for a whole stall limit is a stall; failing to connect is the network's fault.
  if (code === 'ETIMEDOUT' && event === 'socket') {
    return new FerryError('TRANSFER_STALLED', `${label} made no progress`, details);
  }
  return new FerryError('NETWORK', `${label} failed: ${describe(code, url)}`, details);
}

function codeOf(error: unknown): string {
  if (error instanceof RequestError || error instanceof Error) {
    const { code, cause } = error as { code?: string; cause?: unknown };
    // got names some errors itself; what the socket said is in the cause.
    const inner = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
    return (code === 'ERR_GOT_REQUEST_ERROR' ? inner : code) ?? inner ?? 'unknown';
  }
  return 'unknown';
}

function describe(code: string, url: URL): string {
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: `nothing listens at ${url.host}`,
    ECONNRESET: 'the connection was reset',
    EPIPE: 'the connection was closed',
    ETIMEDOUT: `${url.host} did not answer in time`,
    EHOSTUNREACH: `${url.host} can't be reached`,
    ENETUNREACH: `${url.host} can't be reached`,
  };
  return words[code] ?? code;
}
