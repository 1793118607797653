import { sign } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { FerryError } from '../errors.ts';

/** What an identity provider said of a user. */
export interface SamlAssertion {
  /** The XML as it was issued: its signature covers every byte. */
  readonly assertion: string;
  /** PEM of the holder's private key, where the assertion is for a holder of key. */
  readonly key?: string;
}

/**
 * The `Authorization` header of a login by SAML: the assertion compressed and in base64; for a holder of
 * key with a signature of the uncompressed assertion (guide, "Create a Login Session Using a SAML
 * Identity Provider").
 *
 * @throws FerryError CREDENTIALS_MISSING if the key is none
 */
export function samlHeader({ assertion, key }: SamlAssertion, org: string): string {
  const token = gzipSync(Buffer.from(assertion, 'utf8')).toString('base64');
  const parts = [`token="${token}"`, `org="${org}"`];
  if (key !== undefined) {
    parts.push(`signature="${signatureOf(assertion, key)}"`, 'signature_alg="SHA256withRSA"');
  }
  return `SIGN ${parts.join(',')}`;
}

function signatureOf(assertion: string, key: string): string {
  try {
    return sign('RSA-SHA256', Buffer.from(assertion, 'utf8'), key).toString('base64');
  } catch (error) {
    // What the library says may quote the key.
    throw new FerryError(
      'CREDENTIALS_MISSING',
      "the holder's key is not a private RSA key in PEM",
      {
        facts: { reason: (error as NodeJS.ErrnoException).code ?? 'unknown' },
      },
    );
  }
}
