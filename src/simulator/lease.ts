import { assertMayEdit, findByEntity } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { badRequest } from './errors.ts';
import { beginLease, type Item } from './model.ts';
import { doneTask, entityHref } from './parts.ts';
import { childText, parseRequest } from './validate.ts';
import type { World } from './world.ts';
import { element, link, type Markup, mime, OVF, VCLOUD } from './xml.ts';

const PATH = /^\/api\/vAppTemplate\/([^/]+)\/leaseSettingsSection\/?$/;

/** How long a template is kept. Media have no lease. */
export const leaseRoutes: readonly Route[] = [
  { method: 'GET', path: PATH, handle: getLease },
  { method: 'PUT', path: PATH, handle: putLease },
];

export function leaseElement(world: World, item: Item, isRoot = false): Markup {
  const { leaseSeconds, leaseEnds } = item.entity;
  const href = `${entityHref(world, item)}/leaseSettingsSection/`;
  return element(
    'LeaseSettingsSection',
    {
      ...(isRoot ? { xmlns: VCLOUD, 'xmlns:ovf': OVF } : {}),
      href,
      type: mime('leaseSettingsSection'),
      'ovf:required': false,
    },
    element('ovf:Info', {}, 'Lease settings section'),
    link('edit', href, 'leaseSettingsSection'),
    element('StorageLeaseInSeconds', {}, String(leaseSeconds)),
    leaseEnds && element('StorageLeaseExpiration', {}, leaseEnds.toISOString()),
  );
}

function getLease(call: Call): Reply {
  const item = findByEntity(call);
  return {
    status: 200,
    type: 'leaseSettingsSection',
    xml: leaseElement(call.world, item, true),
  };
}

/** Counted from now on; no longer than the organisation's policy allows. */
function putLease(call: Call): Reply {
  const item = findByEntity(call);
  assertMayEdit(call, item);
  const wanted = childText(
    parseRequest(call.body, 'LeaseSettingsSection'),
    'StorageLeaseInSeconds',
  );
  const seconds = wanted === undefined ? item.entity.leaseSeconds : Number(wanted);
  const longest = item.catalog.org.templateLeaseSeconds;
  if (longest > 0 && (seconds === 0 || seconds > longest)) {
    throw badRequest(`Bad request\n - The storage lease must not exceed ${longest} seconds.`);
  }
  item.entity.leaseSeconds = seconds;
  if (item.entity.task.status === 'success') beginLease(item.entity);
  return doneTask(call, item, 'vdcUpdateTemplate', 'Updating');
}
