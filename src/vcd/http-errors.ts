import { RequestError } from 'got';
import { FerryError } from '../errors.ts';

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
export function networkError(
  error: unknown,
  { url, label }: { readonly url: URL; readonly label: string },
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
