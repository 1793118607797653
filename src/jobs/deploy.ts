import { classify, FerryError } from '../errors.ts';
import type { OpenImage } from '../ovf/image.ts';
import type { CatalogState } from '../vcd/catalog.ts';
import type { VdcState } from '../vcd/deploy.ts';
import type { EntityState } from '../vcd/entity.ts';
import { accidentsPass, untilTaskEnds } from './follow.ts';
import type { UploadRequest } from './job-request.ts';
import type { Upload, UploadDeps } from './upload-deps.ts';

/** How a package is to be deployed. */
type Deployment = NonNullable<UploadRequest['deploy']>;

const POWERED_ON = 4;

/**
 * A vCD in which a virtual data centre stands for the catalog, its vApps for the items, and creating a
 * template makes a vApp: so a package is deployed by the very steps by which it is uploaded.
 */
export function vdcView(vcd: UploadDeps['vcd'], deployment: Deployment): UploadDeps['vcd'] {
  const own: Pick<UploadDeps['vcd'], 'getCatalog' | 'createTemplate'> = {
    getCatalog: async (name, context) => catalogOf(await vcd.getVdc(name, context)),
    async createTemplate(addHref, { name, description }, context) {
      const { networks: there } = await vcd.getVdc(deployment.vdc, context);
      const { acceptEulas } = deployment;
      const networks = deployment.networks.map(({ source, target }) => {
        const network = there.find((one) => one.name === target);
        if (network) return { source, target, href: network.href };
        const known = there.map((one) => one.name).join(', ') || 'none';
        throw new FerryError(
          'NETWORK_NOT_FOUND',
          `${deployment.vdc} has no network ${target}; there are: ${known}`,
          { facts: { network: target } },
        );
      });
      return vcd.instantiateOvf(addHref, { name, description, acceptEulas, networks }, context);
    },
  };
  return new Proxy(vcd, {
    get(of, key) {
      if (Object.hasOwn(own, key)) return own[key as keyof typeof own];
      const value: unknown = Reflect.get(of, key, of);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
}

function catalogOf({ href, urn, name, vApps, instantiateHref }: VdcState): CatalogState {
  return {
    ...{ href, urn, name, items: vApps, loose: [], addItemHref: undefined },
    ...{ addTemplateHref: instantiateHref, addMediaHref: undefined },
    ...{ copyHref: undefined, moveHref: undefined, syncHref: undefined },
  };
}

/**
 * What the server would refuse after everything has been sent, said before.
 *
 * @throws FerryError EULA_NOT_ACCEPTED, NETWORK_NOT_FOUND, PACKAGE_UNSUPPORTED
 */
export function assertDeployable(image: OpenImage, { acceptEulas, networks }: Deployment): void {
  if (image.kind === 'media') {
    throw new FerryError('PACKAGE_UNSUPPORTED', 'a media image can not be deployed');
  }
  const { licences = 0, networks: known = [] } = image.contents ?? {};
  if (licences > 0 && !acceptEulas) {
    throw new FerryError('EULA_NOT_ACCEPTED', 'the package has a licence that is to be accepted', {
      facts: { licences },
    });
  }
  const unknown = networks.find(({ source }) => !known.includes(source));
  if (!unknown) return;
  throw new FerryError(
    'NETWORK_NOT_FOUND',
    `the package has no network ${unknown.source}; it has: ${known.join(', ') || 'none'}`,
    { facts: { network: unknown.source } },
  );
}

/**
 * Powers a vApp on that is to be.
 *
 * @throws FerryError POWER_ON_REJECTED with vCD's own words: the vApp stays as it is
 */
export async function powerOn(upload: Upload, vAppHref: string): Promise<void> {
  const { deps, context } = upload;
  const patience = deps.newPatience();
  const on = async (): Promise<void> => {
    const entity: EntityState = await deps.vcd.getEntity(vAppHref, context);
    if (entity.status === POWERED_ON) return; // by a run before this one
    if (entity.powerOnHref === undefined) {
      throw new FerryError('POWER_ON_REJECTED', `${entity.name} can't be powered on`);
    }
    deps.assertOwned();
    await accidentsPass(untilTaskEnds(upload, await deps.vcd.powerOn(entity.powerOnHref, context)));
  };
  try {
    await patience.repeat(on, context.signal);
  } catch (error) {
    const failure = classify(error);
    if (failure.code !== 'VCD_REJECTED') throw failure;
    throw new FerryError('POWER_ON_REJECTED', failure.message, { cause: failure });
  }
}
