import { RequestError } from 'got';
import { classify, type ErrorDetails, FerryError, isExhausted } from '../errors.ts';

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

/** What was asked for, and by which way. */
interface Asked {
  readonly url: URL;
  readonly label: string;
  /** Undefined without one. */
  readonly proxy?: URL | undefined;
  /** The host that was configured; others are named by it. */
  readonly origin?: URL | undefined;
}

/** What went wrong below HTTP, in words and without the address of a transfer. */
export function networkError(error: unknown, { url, label, proxy, origin }: Asked): FerryError {
  if (error instanceof FerryError) return error;
  if (isExhausted(error)) return classify(error);
  const code = codeOf(error);
  const refusal = proxy && refusalOf(error, proxy, url);
  if (refusal) return refusal;
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
    if (proxy)
      return new FerryError('HOST_NOT_FOUND', `the proxy's host ${proxy.hostname} ${why}`, {
        ...details,
        hint: 'Correct `proxy`, or HTTPS_PROXY.',
      });
    const isNamed = origin !== undefined && origin.hostname !== url.hostname;
    return new FerryError('HOST_NOT_FOUND', `the host ${url.hostname} ${why}`, {
      ...details,
      ...(isNamed ? { hint: `${origin.host} names it for transfers: ${OF_PUBLIC_ADDRESS}` } : {}),
    });
  }
  if (code === 'EPROTO') {
    return new FerryError('NOT_VCD', `${url.host} does not speak TLS`, details);
  }
  // Only no progress for a whole stall limit is a stall; failing to connect is the network's fault.
  if (code === 'ETIMEDOUT' && (event === 'socket' || event === 'response')) {
    return stalled({ label, url }, details);
  }
  // What a socket says is said of the proxy where there is one: nobody else was spoken to.
  const host = proxy ? `the proxy ${proxy.host}` : url.host;
  const what = isSilent(error) ? `${host} did not answer in time` : describe(code, host);
  return new FerryError('NETWORK', `${label} failed: ${what}`, {
    ...details,
    ...(proxy ? { hint: 'Check the proxy, and the line to it; it is tried again by itself.' } : {}),
  });
}

/** Nothing has moved for so long that nothing will. */
export function stalled(
  { label, url }: Pick<Asked, 'label' | 'url'>,
  details: ErrorDetails = { facts: { host: url.host } },
): FerryError {
  return new FerryError('TRANSFER_STALLED', `${label} made no progress`, details);
}

/** It was given its time, and is as good as not there. */
export function silent({ label, url }: Pick<Asked, 'label' | 'url'>): FerryError {
  return new FerryError('NETWORK', `${label} was not answered in time`, {
    facts: { host: url.host, isSilent: true },
  });
}

const OF_PUBLIC_ADDRESS =
  "make its name known here, or correct vCD's public addresses (Administration, Public Addresses).";

/** How the agent says that a proxy answered something else than 200, or nothing. */
const REFUSAL = /\bBad response: (\d{3})\b/;

function isSilent(error: unknown): boolean {
  return error instanceof Error && /\bProxy timeout\b/.test(error.message);
}

/** A proxy that has understood, and will not. */
function refusalOf(error: unknown, proxy: URL, url: URL): FerryError | undefined {
  const status = error instanceof Error ? Number(REFUSAL.exec(error.message)?.[1] ?? 0) : 0;
  if (status === 0) return undefined;
  const details = { cause: error, facts: { host: proxy.host, status } };
  const who = `the proxy ${proxy.host}`;
  if (status === 407) return new FerryError('PROXY_REFUSED', `${who} wants a login (407)`, details);
  if (status >= 500) {
    const said = `${who} can't reach ${url.host} (${status})`;
    return new FerryError('NETWORK', said, details);
  }
  return new FerryError('PROXY_REFUSED', `${who} refuses ${url.host} (${status})`, details);
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

function describe(code: string, host: string): string {
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: `nothing listens at ${host}`,
    ECONNRESET: 'the connection was reset',
    EPIPE: 'the connection was closed',
    ETIMEDOUT: `${host} did not answer in time`,
    EHOSTUNREACH: `${host} can't be reached`,
    ENETUNREACH: `${host} can't be reached`,
  };
  return words[code] ?? code;
}
