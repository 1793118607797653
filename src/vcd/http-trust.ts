import { request as httpRequest } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { connect, type PeerCertificate, rootCertificates } from 'node:tls';
import { FerryError } from '../errors.ts';
import { networkError } from './http-errors.ts';

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

export interface TlsOptions {
  rejectUnauthorized?: boolean;
  ca?: string[];
  allowPartialTrustChain?: boolean;
  checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/** What TLS is to check of an origin. @throws FerryError TLS_UNTRUSTED, NETWORK */
export async function tlsOptionsOf(
  origin: URL,
  { ca, certificateSha256, insecure, proxy }: Trust,
  timeoutMs: number,
): Promise<TlsOptions> {
  if (insecure) return { rejectUnauthorized: false };
  if (certificateSha256 !== undefined && origin.protocol === 'https:') {
    return pinnedTo(origin, certificateSha256, {
      proxy,
      timeoutMs,
    });
  }
  // In addition to the authorities that Node knows, which `ca` alone would replace.
  return ca === undefined ? {} : { ca: [...rootCertificates, ca] };
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
      reject(networkError(error, { url: origin, label, proxy: new URL(proxy) }));
    };
    request.once('error', fail);
    request.once('timeout', () => fail(new Error('Proxy timeout')));
    request.once('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      fail(new Error(`Bad response: ${statusCode}`)); // as the agent says it
    });
    request.end();
  });
}
