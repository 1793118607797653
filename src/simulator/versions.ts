import { ApiError } from './errors.ts';
import type { Release } from './releases.ts';
import { documentOf, element } from './xml.ts';

/** `GET /api/versions`: the only call that needs no version itself. */
export function versionsDocument(
  { versions, alpha }: Pick<Release, 'versions' | 'alpha'>,
  base: string,
): string {
  return documentOf(
    element(
      'SupportedVersions',
      { xmlns: 'http://www.vmware.com/vcloud/versions' },
      ...versions.map(({ version, deprecated }) =>
        element(
          'VersionInfo',
          { deprecated },
          element('Version', {}, version),
          // The cloudapi is what the versions name from 36.0 on, although it is older.
          element(
            'LoginUrl',
            {},
            `${base}${atLeast(version, '36.0') ? '/cloudapi/1.0.0/sessions' : '/api/sessions'}`,
          ),
          atLeast(version, '36.0')
            ? element('ProviderLoginUrl', {}, `${base}/cloudapi/1.0.0/sessions/provider`)
            : undefined,
        ),
      ),
      alpha === undefined
        ? undefined
        : element(
            'AlphaVersion',
            { deprecated: false },
            element('Version', {}, alpha),
            element('LoginUrl', {}, `${base}/cloudapi/1.0.0/sessions`),
            element('ProviderLoginUrl', {}, `${base}/cloudapi/1.0.0/sessions/provider`),
          ),
    ),
  );
}

/**
 * The version a request asks for. Clients may send several Accept headers; one must name a version
 * that is served.
 */
export function requestedVersion(
  accept: string | undefined,
  { versions, alpha }: Pick<Release, 'versions' | 'alpha'>,
): string {
  const served = [...versions.map(({ version }) => version), ...(alpha ? [alpha] : [])];
  const asked = [...(accept ?? '').matchAll(/version=([\w.-]+)/g)].map((match) => match[1]);
  const version = asked.find((candidate) => candidate !== undefined && served.includes(candidate));
  if (version === undefined) {
    throw new ApiError(406, 'NOT_ACCEPTABLE', 'No valid API version can be selected.');
  }
  return version;
}

/** Numerically, part by part: 5.10 is newer than 5.1. */
export function atLeast(version: string, floor: string): boolean {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10));
  const wanted = floor.split('.').map(Number);
  for (let i = 0; i < Math.max(parts.length, wanted.length); i += 1) {
    const difference = (parts[i] ?? 0) - (wanted[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
