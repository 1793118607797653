import { assertMayAdd, assertMayEdit, findByEntity, visibleOrgs } from './access.ts';
import { type Call, contentType, type Reply, type Route } from './call.ts';
import { created, newEntity } from './catalog.ts';
import { ApiError, badRequest, forbidden } from './errors.ts';
import { addFile } from './files.ts';
import { newTask, type Task } from './model.ts';
import { taskElement } from './parts.ts';
import { attributeOf, childElements, childText, parseRequest } from './validate.ts';
import { networksOf } from './vdc.ts';
import { mime } from './xml.ts';

/**
 * Making a vApp of a package, and powering it on. Difference from a real vCD: there are no virtual
 * machines in it; what depends on them is not there.
 */
export const vAppRoutes: readonly Route[] = [
  { method: 'POST', path: /^\/api\/vdc\/([^/]+)\/action\/instantiateOvf$/, handle: instantiate },
  { method: 'POST', path: /^\/api\/vApp\/([^/]+)\/power\/action\/powerOn$/, handle: powerOn },
];

function instantiate(call: Call): Reply {
  const org = visibleOrgs(call).find(({ vdc }) => vdc?.id === call.params[0]);
  if (!org) throw forbidden('vdc');
  assertMayAdd(call, org.vApps);
  if (contentType(call.headers) !== mime('instantiateOvfParams').toLowerCase()) {
    throw new ApiError(415, 'UNSUPPORTED_MEDIA_TYPE', 'Unsupported content type');
  }
  const params = parseRequest(call.body, 'InstantiateOvfParams');
  const known = networksOf(call, org).map(({ href }) => href);
  const configured = new Set<string>();
  for (const section of childElements(params, 'InstantiationParams')) {
    for (const networks of childElements(section, 'NetworkConfigSection')) {
      for (const config of childElements(networks, 'NetworkConfig')) {
        configured.add(attributeOf(config, 'networkName') ?? '');
        const [configuration] = childElements(config, 'Configuration');
        const [parent] = configuration ? childElements(configuration, 'ParentNetwork') : [];
        const href = parent && attributeOf(parent, 'href');
        if (href !== undefined && known.includes(href)) continue;
        throw badRequest(`Bad request\n - ParentNetwork ${href} is not available in this vDC.`);
      }
    }
  }
  const mappings = childElements(params, 'NetworkMapping');
  for (const mapping of mappings) {
    const target = childText(mapping, 'Target') ?? '';
    if (configured.has(target)) continue;
    throw badRequest(`Bad request\n - NetworkMapping to the unknown network "${target}".`);
  }
  if (attributeOf(params, 'powerOn') !== 'false' || attributeOf(params, 'deploy') !== 'false') {
    throw badRequest(
      'Bad request\n - This simulator makes vApps that are off: say deploy and powerOn.',
    );
  }
  const entity = newEntity(call, org.vApps, {
    kind: 'vApp',
    profileHref: undefined,
    deployment: {
      acceptsEulas: childText(params, 'AllEULAsAccepted') === 'true',
      sources: mappings.map((mapping) => childText(mapping, 'Source') ?? ''),
    },
  });
  const { reply } = created(call, org.vApps, params, entity);
  addFile(call.world, entity, 'descriptor.ovf', undefined, true);
  return reply();
}

function powerOn(call: Call): Reply {
  const item = findByEntity(call);
  assertMayEdit(call, item);
  const { entity } = item;
  if (entity.status !== 8) throw badRequest('Bad request\n - The vApp is not powered off.');
  const task: Task = newTask('vappPowerOn', 'Starting Virtual Application', call.session);
  call.world.finishedTasks.set(task.id, { item, task });
  setTimeout(() => {
    task.end = new Date();
    if (call.fault?.failImport) {
      Object.assign(task, { status: 'error', error: call.fault.failImport });
      return;
    }
    Object.assign(task, { status: 'success', progress: 100 });
    entity.status = 4;
  }, call.world.options.importTimeMs).unref();
  return { status: 202, type: 'task', xml: taskElement(call, item, task) };
}
