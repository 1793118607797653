import { buildXml, type XmlElement } from '../xml.ts';
import { isUnseen } from './answer.ts';
import type { CallContext, VcdApi } from './api.ts';
import { MIME, OVF, VCLOUD } from './mime.ts';
import { parseTask, type TaskState } from './task.ts';

/** How long a template is kept. */
export interface Lease {
  /** 0 for ever. */
  readonly seconds: number;
  /** When vCD removes it, ISO 8601; undefined for never. */
  readonly ends: string | undefined;
}

/** The lease that a template shows; undefined where it shows none (media have none). */
export function parseLease(entity: XmlElement): Lease | undefined {
  const section = entity.child('LeaseSettingsSection');
  if (!section) return undefined;
  const seconds = Number(section.child('StorageLeaseInSeconds')?.text ?? 0);
  const ends = section.child('StorageLeaseExpiration')?.text.trim();
  const moment = new Date(ends ?? '');
  return { seconds, ends: Number.isNaN(moment.getTime()) ? undefined : moment.toISOString() };
}

/**
 * Says how long a template is to be kept, from now on.
 *
 * @param seconds 0 for ever
 * @returns the task that does it
 * @throws FerryError VCD_REJECTED where the organisation's policy does not allow it
 */
export async function setLease(
  api: VcdApi,
  templateHref: string,
  seconds: number,
  context: CallContext,
): Promise<TaskState | undefined> {
  const body = buildXml(
    {
      name: 'LeaseSettingsSection',
      children: [
        { name: 'Info', namespace: OVF, text: 'Lease settings' },
        { name: 'StorageLeaseInSeconds', text: String(seconds) },
      ],
    },
    VCLOUD,
  );
  const href = `${templateHref}/leaseSettingsSection/`;
  const request = { method: 'PUT', href, body, type: MIME.lease } as const;
  const task = await api.request(request, context);
  return task && parseTask(task);
}

/**
 * After how many seconds the organisation removes templates, 0 for never; undefined where one may not
 * see its policies.
 */
export async function templateLeaseOf(
  api: VcdApi,
  orgHref: string,
  context: CallContext,
): Promise<number | undefined> {
  const path = orgHref.replace('/api/org/', '/api/admin/org/');
  try {
    const settings = await api.get(`${path}/settings/vAppTemplateLeaseSettings`, context);
    return Number(settings.child('StorageLeaseSeconds')?.text ?? 0);
  } catch (error) {
    if (isUnseen(error)) return undefined;
    throw error;
  }
}
