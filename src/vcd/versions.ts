import { FerryError } from '../errors.ts';
import { parseXml, REPLY_LIMITS, XmlError } from '../xml.ts';

/** A version that the server offers (SupportedVersions of `GET /api/versions`). */
export interface OfferedVersion {
  readonly version: string;
  readonly deprecated: boolean;
  /** Path of the login, without the host: credentials go to the configured host alone. */
  readonly loginPath: string | undefined;
  readonly providerLoginPath: string | undefined;
}

/** API 1.5, 5.x, and 27.0 up to but not including 40.0, which is another product's. */
function isKnown(version: string): boolean {
  if (!/^\d+\.\d+$/.test(version)) return false; // alphas look like 37.0.0-alpha-1625843840
  if (version === '1.5' || version === '5.1' || version === '5.5' || version === '5.6') return true;
  return compareVersions(version, '27.0') >= 0 && compareVersions(version, '40.0') < 0;
}

/** Part by part as numbers: 5.10 is newer than 5.1. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @throws FerryError NOT_VCD if the text is not a SupportedVersions document */
export function parseVersions(body: string, host: string): OfferedVersion[] {
  let root: ReturnType<typeof parseXml>;
  try {
    root = parseXml(body, REPLY_LIMITS);
  } catch (error) {
    if (!(error instanceof XmlError)) throw error;
    throw new FerryError('NOT_VCD', `what ${host} answers is not a vCD's: it ${error.message}`, {
      cause: error,
    });
  }
  if (root.name !== 'SupportedVersions') {
    throw new FerryError(
      'NOT_VCD',
      `${host} answers with a ${root.name} document, not its versions`,
    );
  }
  return root.children('VersionInfo').map((info) => ({
    version: info.child('Version')?.text.trim() ?? '',
    deprecated: info.attribute('deprecated') === 'true',
    loginPath: pathOf(info.child('LoginUrl')?.text),
    providerLoginPath: pathOf(info.child('ProviderLoginUrl')?.text),
  }));
}

function pathOf(url: string | undefined): string | undefined {
  return url !== undefined && URL.canParse(url.trim()) ? new URL(url.trim()).pathname : undefined;
}

/**
 * The highest version that both sides know; deprecated ones only where there is nothing else.
 *
 * @throws FerryError VERSION_UNSUPPORTED listing what is offered
 */
export function chooseVersion(offered: readonly OfferedVersion[], host: string): OfferedVersion {
  const [best] = offered
    .filter(({ version }) => isKnown(version))
    .sort(
      (a, b) =>
        Number(a.deprecated) - Number(b.deprecated) || compareVersions(b.version, a.version),
    );
  if (best) return best;
  const list = offered.map(({ version }) => version).join(', ') || 'none';
  const automation = offered.some(({ version }) => compareVersions(version, '40.0') >= 0);
  throw new FerryError(
    'VERSION_UNSUPPORTED',
    automation
      ? `${host} is a VCF Automation (API ${list}), which has content libraries instead of catalogs`
      : `${host} offers no API version that ovaferry knows, but ${list}`,
    { facts: { offered: list } },
  );
}
