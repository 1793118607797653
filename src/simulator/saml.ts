import { createPublicKey, verify, X509Certificate } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type { Account } from './accounts.ts';
import { ApiError } from './errors.ts';
import { parseSafely, textAt } from './validate.ts';

const ASSERTION = 'urn:oasis:names:tc:SAML:2.0:assertion';
const DSIG = 'http://www.w3.org/2000/09/xmldsig#';

/** The algorithms' names are Java's. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  SHA1WITHRSA: 'RSA-SHA1',
  SHA256WITHRSA: 'RSA-SHA256',
  SHA384WITHRSA: 'RSA-SHA384',
  SHA512WITHRSA: 'RSA-SHA512',
};

/**
 * `Authorization: SIGN token="…",org="…"`: the assertion, compressed and in base64; for a holder of key
 * also a signature of the uncompressed assertion by the key whose certificate stands in it.
 *
 * Who signed the assertion itself is not looked at: any identity provider is trusted here.
 *
 * @throws ApiError 401 without a body for whatever is not right
 */
export function samlAccount(authorization: string, accounts: readonly Account[]): Account {
  try {
    return accountIn(authorization, accounts);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) throw error;
    throw refused((error as Error).message); // neither XML, nor a certificate, nor a signature
  }
}

function accountIn(authorization: string, accounts: readonly Account[]): Account {
  const given = Object.fromEntries(
    [...authorization.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]),
  );
  const { token, org = 'system', signature, signature_alg: algorithm } = given;
  if (token === undefined) throw refused('no token');
  const assertion = unpack(token);
  const root = parseSafely(assertion).root();
  if (root?.name() !== 'Assertion' || root.namespace()?.href() !== ASSERTION) {
    throw refused('no assertion');
  }
  const names = { s: ASSERTION, d: DSIG };
  const until = textAt(root, './s:Conditions/@NotOnOrAfter', names);
  if (until !== undefined && !(Date.now() < Date.parse(until))) throw refused('it has run out');
  const method = textAt(root, './s:Subject/s:SubjectConfirmation/@Method', names) ?? '';
  if (method.endsWith(':holder-of-key')) {
    const certificate = textAt(root, './s:Subject//d:X509Certificate', names) ?? '';
    assertSigned(assertion, { certificate, signature, algorithm });
  }
  const user = textAt(root, './s:Subject/s:NameID', names);
  const account = accounts.find(
    (candidate) => candidate.user === user && candidate.org.toLowerCase() === org.toLowerCase(),
  );
  if (!account) throw refused('nobody of that name');
  return account;
}

function unpack(token: string): Buffer {
  try {
    return gunzipSync(Buffer.from(token, 'base64'), { maxOutputLength: 1024 * 1024 });
  } catch {
    throw refused('not compressed');
  }
}

function assertSigned(
  assertion: Buffer,
  {
    certificate,
    signature,
    algorithm = '',
  }: {
    certificate: string;
    signature: string | undefined;
    algorithm: string | undefined;
  },
): void {
  const digest = ALGORITHMS[algorithm.toUpperCase()];
  if (signature === undefined || digest === undefined) throw refused('not signed');
  const key = createPublicKey(
    new X509Certificate(Buffer.from(certificate, 'base64')).publicKey.export({
      type: 'spki',
      format: 'pem',
    }),
  );
  if (!verify(digest, assertion, key, Buffer.from(signature, 'base64'))) throw refused('forged');
}

function refused(why: string): ApiError {
  return new ApiError(401, undefined, why);
}
