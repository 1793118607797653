/** A release of the product, as far as its clients can tell it from others. */
export interface Release {
  readonly name: string;
  /** API versions in the order of their age; `deprecated` ones are listed as such. */
  readonly versions: readonly { readonly version: string; readonly deprecated: boolean }[];
  readonly alpha?: string;
  /** `/cloudapi/1.0.0/sessions`, whatever version is asked for. */
  readonly cloudapi: boolean;
  /** `POST /api/sessions` also answers with a JWT, besides its own token. */
  readonly legacyJwt: boolean;
  readonly apiTokens: boolean;
  readonly serviceAccounts: boolean;
  /** Errors come with their Java stack trace in an attribute. */
  readonly stackTraces: boolean;
}

function listed(deprecated: readonly string[], current: readonly string[]): Release['versions'] {
  return [
    ...deprecated.map((version) => ({ version, deprecated: true })),
    ...current.map((version) => ({ version, deprecated: false })),
  ];
}

/**
 * What differs by release; what differs by API version is decided where it matters. Which versions a
 * release stopped to serve is not published in one place: the lower ends are ours.
 */
export const RELEASES: readonly Release[] = [
  {
    name: '5.5',
    versions: listed([], ['1.5', '5.1', '5.5']),
    cloudapi: false,
    legacyJwt: false,
    apiTokens: false,
    serviceAccounts: false,
    stackTraces: true,
  },
  {
    name: '9.7',
    versions: listed(['27.0', '28.0'], ['29.0', '30.0', '31.0', '32.0']),
    cloudapi: false,
    legacyJwt: true,
    apiTokens: false,
    serviceAccounts: false,
    stackTraces: false,
  },
  {
    name: '10.3',
    versions: listed(
      ['31.0', '32.0', '33.0'],
      ['34.0', '35.0', '35.2', '36.0', '36.1', '36.2', '36.3'],
    ),
    alpha: '37.0.0-alpha-1625843840',
    cloudapi: true,
    legacyJwt: true,
    apiTokens: true,
    serviceAccounts: false,
    stackTraces: false,
  },
  {
    name: '10.4',
    versions: listed(
      ['34.0', '35.0', '35.2'],
      ['36.0', '36.1', '36.2', '36.3', '37.0', '37.1', '37.2', '37.3'],
    ),
    alpha: '38.0.0-alpha-1661858440',
    cloudapi: true,
    legacyJwt: true,
    apiTokens: true,
    serviceAccounts: true,
    stackTraces: false,
  },
  {
    name: '10.5',
    versions: listed(
      ['36.0', '36.1', '36.2', '36.3'],
      ['37.0', '37.1', '37.2', '37.3', '38.0', '38.1'],
    ),
    alpha: '39.0.0-alpha-1695108440',
    cloudapi: true,
    legacyJwt: true,
    apiTokens: true,
    serviceAccounts: true,
    stackTraces: false,
  },
  {
    name: '10.6',
    versions: listed(['37.0', '37.1', '37.2', '37.3'], ['38.0', '38.1', '39.0', '39.1']),
    alpha: '40.0.0-alpha-1718712440',
    cloudapi: true,
    legacyJwt: true,
    apiTokens: true,
    serviceAccounts: true,
    stackTraces: false,
  },
];

/** @throws Error naming those there are */
export function releaseOf(name: string): Release {
  const release = RELEASES.find((candidate) => candidate.name === name);
  if (release) return release;
  const known = RELEASES.map((candidate) => candidate.name).join(', ');
  throw new Error(`there is no release ${name}; there are ${known}`);
}
