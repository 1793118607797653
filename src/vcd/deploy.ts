import { FerryError } from '../errors.ts';
import { buildXml, type XmlElement, type XmlSpec } from '../xml.ts';
import type { CallContext, VcdApi } from './api.ts';
import { type ItemReference, parseItem } from './item.ts';
import { MIME, OVF, VCLOUD } from './mime.ts';
import { findOrg } from './org.ts';
import { findLink } from './task.ts';
import type { Listed } from './vdc.ts';

/** A virtual data centre, as far as a package can be deployed in it. */
export interface VdcState {
  readonly href: string;
  readonly urn: string;
  readonly name: string;
  /** Undefined without the right to make vApps there. */
  readonly instantiateHref: string | undefined;
  readonly vApps: readonly Listed[];
  readonly networks: readonly Listed[];
}

/** What a package becomes. */
export interface NewVApp {
  readonly name: string;
  readonly description: string;
  readonly acceptEulas: boolean;
  /** A network of the package, and the one of the data centre that stands for it. */
  readonly networks: readonly {
    readonly source: string;
    readonly target: string;
    readonly href: string;
  }[];
}

/** @throws FerryError VDC_NOT_FOUND naming those there are */
export async function getVdc(
  api: VcdApi,
  { org, name }: { readonly org: string; readonly name: string },
  context: CallContext,
): Promise<VdcState> {
  const { href } = await findOrg(api, org, context);
  const links = (await api.get(href, context))
    .children('Link')
    .filter((link) => link.attribute('type')?.toLowerCase() === MIME.vdc.toLowerCase());
  const found = links.find((link) => link.attribute('name') === name)?.attribute('href');
  if (found !== undefined) return parseVdc(await api.get(found, context), found);
  const known = links.map((link) => link.attribute('name')).join(', ') || 'none';
  throw new FerryError(
    'VDC_NOT_FOUND',
    `there is no virtual data centre ${name} in organisation ${org}; there are: ${known}`,
    { facts: { vdc: name } },
  );
}

function parseVdc(root: XmlElement, href: string): VdcState {
  const listed = (parent: string, child: string): XmlElement[] =>
    root.child(parent)?.children(child) ?? [];
  const named = (element: XmlElement): Listed => ({
    name: element.attribute('name') ?? '',
    href: element.attribute('href') ?? '',
  });
  return {
    href,
    urn: root.attribute('id') ?? href,
    name: root.attribute('name') ?? '',
    instantiateHref: findLink(root, 'add', MIME.instantiateOvf)?.attribute('href'),
    vApps: listed('ResourceEntities', 'ResourceEntity')
      .filter((entity) => entity.attribute('type')?.toLowerCase() === MIME.vApp.toLowerCase())
      .map(named),
    networks: listed('AvailableNetworks', 'Network').map(named),
  };
}

/**
 * `POST …/action/instantiateOvf` (guide, "Create a vApp From an OVF Package"). It is neither deployed nor
 * powered on: that would be lost with the upload if it failed.
 */
export async function instantiateOvf(
  api: VcdApi,
  href: string,
  { name, description, acceptEulas, networks }: NewVApp,
  context: CallContext,
): Promise<ItemReference> {
  const body = buildXml(
    {
      name: 'InstantiateOvfParams',
      attributes: { name, deploy: 'false', powerOn: 'false' },
      children: [
        { name: 'Description', text: description },
        networks.length === 0
          ? undefined
          : { name: 'InstantiationParams', children: [networkSection(networks)] },
        { name: 'AllEULAsAccepted', text: String(acceptEulas) },
        ...networks.map(({ source, target }) => ({
          name: 'NetworkMapping',
          children: [
            { name: 'Source', text: source },
            { name: 'Target', text: target },
          ],
        })),
      ],
    },
    VCLOUD,
  );
  const request = {
    method: 'POST',
    href,
    body,
    type: MIME.instantiateOvf,
    phase: 'create',
  } as const;
  const root = await api.request(request, context);
  if (!root) throw new FerryError('SERVER_UNAVAILABLE', 'the new vApp came back empty');
  return parseItem(root);
}

/** A network of the vApp for each that is used, bridged to the data centre's. */
function networkSection(networks: NewVApp['networks']): XmlSpec {
  const used = new Map(networks.map(({ target, href }) => [target, href]));
  return {
    name: 'NetworkConfigSection',
    children: [
      { name: 'Info', namespace: OVF, text: 'Networks of the vApp' },
      ...[...used].map(([networkName, href]) => ({
        name: 'NetworkConfig',
        attributes: { networkName },
        children: [
          {
            name: 'Configuration',
            children: [
              { name: 'ParentNetwork', attributes: { href } },
              { name: 'FenceMode', text: 'bridged' },
            ],
          },
        ],
      })),
    ],
  };
}
