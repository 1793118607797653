import type { XmlElement } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { findLink } from './task.ts';
import { compareVersions } from './versions.ts';

/** All of these must be so. */
export interface Condition {
  readonly field: string;
  readonly value: string;
}

/** The largest page that vCD gives. */
const PAGE = 128;

/** Records of the query service, of all pages. */
export async function queryRecords(
  api: VcdApi,
  { type, filter = [] }: { readonly type: string; readonly filter?: readonly Condition[] },
  context: CallContext,
): Promise<XmlElement[]> {
  const { version } = await api.openSession(context);
  const records: XmlElement[] = [];
  const seen = new Set<string>();
  let href: string | undefined =
    `/api/query?type=${type}&format=records&page=1&pageSize=${PAGE}${encodeFilter(filter, version)}`;
  // A page that names one before it would be read for ever.
  while (href !== undefined && !seen.has(href)) {
    seen.add(href);
    const page: XmlElement = await api.get(href, context);
    records.push(...page.children().filter(({ name }) => name.endsWith('Record')));
    href = findLink(page, 'nextPage')?.attribute('href');
  }
  return records;
}

/** `&filter=…`: from 35.0 on encoded once, with `( ) , ;` escaped; encoded twice before. */
export function encodeFilter(conditions: readonly Condition[], version: string): string {
  if (conditions.length === 0) return '';
  if (compareVersions(version, '35.0') >= 0) {
    const escaped = (value: string): string => value.replaceAll(/[\\(),;*]/g, '\\$&');
    const text = conditions.map(
      ({ field, value }) => `${field}==${encodeStrictly(escaped(value))}`,
    );
    return `&filter=${text.join(';')}`;
  }
  const text = conditions.map(
    ({ field, value }) => `${field}==${encodeURIComponent(encodeStrictly(value))}`,
  );
  return `&filterEncoded=true&filter=${text.join(';')}`;
}

/** `encodeURIComponent` leaves some of RFC 3986's reserved characters as they are. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
