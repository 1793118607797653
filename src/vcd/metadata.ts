import { buildXml } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { MIME, VCLOUD } from './mime.ts';

const XSI = 'http://www.w3.org/2001/XMLSchema-instance';

/** What is noted on an entity, by its key: of the general domain, whatever its type, as text. */
export async function getMetadata(
  api: VcdApi,
  entityHref: string,
  context: CallContext,
): Promise<ReadonlyMap<string, string>> {
  const root = await api.get(`${entityHref}/metadata`, context);
  const entries = root.children('MetadataEntry').map((entry) => {
    // Before 5.1 a value had no type.
    const value = entry.child('TypedValue')?.child('Value') ?? entry.child('Value');
    return [entry.child('Key')?.text ?? '', value?.text ?? ''] as const;
  });
  return new Map(entries);
}

/** Adds entries to an entity's metadata, or changes them; others stay. */
export async function addMetadata(
  api: VcdApi,
  entityHref: string,
  entries: Readonly<Record<string, string>>,
  context: CallContext,
): Promise<void> {
  const body = buildXml(
    {
      name: 'Metadata',
      attributes: { 'xmlns:xsi': XSI },
      children: Object.entries(entries).map(([key, value]) => ({
        name: 'MetadataEntry',
        children: [
          { name: 'Key', text: key },
          {
            name: 'TypedValue',
            attributes: { 'xsi:type': 'MetadataStringValue' },
            children: [{ name: 'Value', text: value }],
          },
        ],
      })),
    },
    VCLOUD,
  );
  const href = `${entityHref}/metadata`;
  await api.request({ method: 'POST', href, body, type: MIME.metadata }, context);
}
