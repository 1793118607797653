import type { Route } from './call.ts';
import { catalogRoutes } from './catalog.ts';
import { cloudapiRoutes } from './cloudapi.ts';
import { copyRoutes } from './copy.ts';
import { downloadRoutes } from './download.ts';
import { entityRoutes } from './entity.ts';
import { leaseRoutes } from './lease.ts';
import { logoutRoutes } from './logins.ts';
import { metadataRoutes } from './metadata.ts';
import { organizationRoutes } from './organization.ts';
import { queryRoutes } from './query.ts';
import { syncRoutes } from './sync.ts';
import { taskRoutes } from './task.ts';
import { vdcRoutes } from './vdc.ts';
import { vdcUploadRoutes } from './vdc-uploads.ts';

/** Everything that a session may ask; a test goes through all of them. */
export const ROUTES: readonly Route[] = [
  ...logoutRoutes,
  ...cloudapiRoutes,
  ...organizationRoutes,
  ...vdcRoutes,
  ...vdcUploadRoutes,
  ...queryRoutes,
  ...catalogRoutes,
  ...copyRoutes,
  ...syncRoutes,
  ...entityRoutes,
  ...metadataRoutes,
  ...leaseRoutes,
  ...downloadRoutes,
  ...taskRoutes,
];
