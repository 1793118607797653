import { assertMayAdd, visibleOrgs } from './access.ts';
import { type Call, contentType, type Reply, type Route } from './call.ts';
import { uploadMedia, uploadTemplate } from './catalog.ts';
import { ApiError, forbidden } from './errors.ts';
import type { Organization } from './model.ts';
import { vAppRoutes } from './vapps.ts';
import { atLeast } from './versions.ts';
import { mime } from './xml.ts';

/**
 * Uploads to a virtual data centre, the only ones there were before 5.5. What is uploaded is in no
 * catalog until somebody puts it there. Difference from a real vCD: they are gone from 32.0 on for
 * templates, too; a real one still has those.
 */
export const vdcUploadRoutes: readonly Route[] = [
  { method: 'POST', path: /^\/api\/vdc\/([^/]+)\/action\/uploadVAppTemplate$/, handle: template },
  { method: 'POST', path: /^\/api\/vdc\/([^/]+)\/media$/, handle: media },
  ...vAppRoutes,
];

function template(call: Call): Reply {
  const org = orgOf(call, 'uploadVAppTemplateParams');
  return uploadTemplate(call, org.loose);
}

function media(call: Call): Reply {
  const org = orgOf(call, 'media');
  return uploadMedia(call, org.loose);
}

/** @throws ApiError */
function orgOf(call: Call, type: string): Organization {
  const org = visibleOrgs(call).find(({ vdc }) => vdc?.id === call.params[0]);
  if (!org) throw forbidden('vdc');
  if (atLeast(call.version, '32.0')) throw new ApiError(405, undefined, 'gone since 32.0');
  assertMayAdd(call, org.loose);
  if (contentType(call.headers) === mime(type).toLowerCase()) return org;
  throw new ApiError(415, 'UNSUPPORTED_MEDIA_TYPE', 'Unsupported content type');
}
