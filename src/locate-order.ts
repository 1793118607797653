import { resolve } from 'node:path';
import { classify, FerryError } from './errors.ts';
import type { UploadRequest } from './jobs/job-request.ts';
import { defaultName, type LocatedImage, locateImage } from './ovf/image.ts';
import { isLossy } from './source/local-file.ts';
import { identityOfSource, isAddress } from './source/open-source.ts';

/** An order's source, looked at without opening it. */
export interface LocatedOrder
  extends Pick<LocatedImage, 'kind' | 'path' | 'defaultName' | 'expectedBytes'> {
  /** Absolute, or an address. */
  readonly source: string;
  readonly identity: UploadRequest['identity'];
}

/** How it is where only others can look. */
const UNSEEN = { identity: { size: 0, mtimeMs: 0 }, expectedBytes: 0 };

/**
 * Looks at the source of an order. What exists but is no package, or can't be opened by its name, is taken
 * for one all the same: its job fails and says why.
 *
 * @throws FerryError USAGE, SOURCE_NOT_FOUND, SOURCE_UNREADABLE
 */
export async function locateOrder({
  source,
  serverPull = false,
  media = false,
}: {
  readonly source: string;
  readonly serverPull?: boolean | undefined;
  readonly media?: boolean | undefined;
}): Promise<LocatedOrder> {
  if (serverPull) return locateByPull(source);
  if (!isAddress(source)) return locate(resolve(source), media);
  addressOf(source);
  return locate(source, media);
}

async function locate(source: string, media: boolean): Promise<LocatedOrder> {
  try {
    const { identity, ...located } = await locateImage(source, media);
    return { ...located, source, identity: stateOf(identity) };
  } catch (error) {
    const { code } = classify(error);
    const name = defaultName(source);
    // Workers may reach a web server that producers do not.
    if (code === 'SOURCE_UNREACHABLE' && isAddress(source)) {
      const kind = media || /\.iso$/i.test(source) ? 'media' : 'ovf';
      return { kind, source, path: source, defaultName: name, ...UNSEEN };
    }
    if (code === 'SOURCE_UNREADABLE' && isLossy(source)) {
      return { kind: 'ovf', source, path: source, defaultName: name, ...UNSEEN };
    }
    if (!code.startsWith('PACKAGE_')) throw error;
    const identity = stateOf(await identityOfSource(source));
    const expectedBytes = identity.size;
    return { kind: 'ovf', source, path: source, defaultName: name, identity, expectedBytes };
  }
}

function stateOf({ size, mtimeMs, etag }: LocatedImage['identity']): UploadRequest['identity'] {
  return { size, mtimeMs, ...(etag === undefined ? {} : { etag }) };
}

function locateByPull(source: string): LocatedOrder {
  const { host, pathname } = addressOf(source);
  if (/\.ova$/i.test(pathname)) {
    throw new FerryError(
      'USAGE',
      `${host}${pathname}: a server fetches the descriptor of an unpacked package (.ovf), and no .ova`,
    );
  }
  return { kind: 'ovf', source, path: source, defaultName: defaultName(source), ...UNSEEN };
}

/** An address that may stand in the queue, which is seen by many. @throws FerryError USAGE */
export function addressOf(source: string): URL {
  const url = URL.canParse(source) ? new URL(source) : undefined;
  const refuse = (why: string): never => {
    throw new FerryError('USAGE', `${url ? url.host + url.pathname : source}: ${why}`);
  };
  if (!url || !/^https?:$/.test(url.protocol)) return refuse('expected an http(s):// address');
  if (url.username !== '' || url.password !== '') {
    return refuse('an address with a password would be seen by everybody who sees the queue');
  }
  if (url.search !== '' || url.hash !== '') {
    return refuse('what stands after the path would be seen by everybody who sees the queue');
  }
  return url;
}
