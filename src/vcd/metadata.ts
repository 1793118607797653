import { buildXml } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { MIME, VCLOUD } from './mime.ts';
import { parseTask, type TaskState } from './task.ts';
import { compareVersions } from './versions.ts';

const XSI = 'http://www.w3.org/2001/XMLSchema-instance';

/** A note on an entity. Numbers are whole; times are ISO 8601. */
export interface MetadataEntry {
  readonly key: string;
  readonly type: 'string' | 'number' | 'boolean' | 'dateTime';
  readonly value: string;
}

const TYPES: Readonly<Record<MetadataEntry['type'], string>> = {
  string: 'MetadataStringValue',
  number: 'MetadataNumberValue',
  boolean: 'MetadataBooleanValue',
  dateTime: 'MetadataDateTimeValue',
};

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

/**
 * Adds entries to an entity's metadata, or changes them; others stay.
 *
 * @returns the task that does it
 */
export async function addMetadata(
  api: VcdApi,
  entityHref: string,
  entries: readonly MetadataEntry[],
  context: CallContext,
): Promise<TaskState | undefined> {
  const { version } = await api.openSession(context);
  const isTyped = compareVersions(version, '5.1') >= 0;
  const body = buildXml(
    {
      name: 'Metadata',
      attributes: { 'xmlns:xsi': XSI },
      children: entries.map(({ key, type, value }) => ({
        name: 'MetadataEntry',
        children: [
          { name: 'Key', text: key },
          isTyped
            ? {
                name: 'TypedValue',
                attributes: { 'xsi:type': TYPES[type] },
                children: [{ name: 'Value', text: value }],
              }
            : { name: 'Value', text: value },
        ],
      })),
    },
    VCLOUD,
  );
  const href = `${entityHref}/metadata`;
  const request = { method: 'POST', href, body, type: MIME.metadata } as const;
  const task = await api.request(request, context);
  return task && parseTask(task);
}
