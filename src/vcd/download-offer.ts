import type { XmlElement } from '../xml.ts';
import { findLink } from './task.ts';

/** What of an entity may be fetched, and how that is begun and ended (guide, "Download a vApp or vApp Template as OVF"). */
export interface DownloadOffer {
  /** Undefined without the right, and while it is enabled. */
  readonly enableHref: string | undefined;
  readonly disableHref: string | undefined;
  /** Where a template's descriptor is; its files are beside it. A secret. */
  readonly descriptorHref: string | undefined;
  /** What a media image is made of. */
  readonly file:
    | {
        /** As the server calls it, which says little. */
        readonly name: string;
        /** A secret. */
        readonly href: string;
      }
    | undefined;
}

export function parseOffer(root: XmlElement, files: readonly XmlElement[]): DownloadOffer {
  const [file] = files.flatMap((candidate) => {
    const href = findLink(candidate, 'download:default')?.attribute('href');
    return href === undefined ? [] : [{ name: candidate.attribute('name') ?? '', href }];
  });
  return {
    enableHref: findLink(root, 'enable')?.attribute('href'),
    disableHref: findLink(root, 'disable')?.attribute('href'),
    descriptorHref: findLink(root, 'download:default')?.attribute('href'),
    file,
  };
}
