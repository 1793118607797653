/** An address on a host that is known, whatever host the address names: only its path is believed. */
export function atOrigin(origin: URL, href: string): URL {
  const isAbsolute = /^https?:\/\//i.test(href);
  const given = isAbsolute ? new URL(href) : new URL(href.replace(/^\/+/, ''), origin.origin);
  const url = new URL(origin.origin);
  // Public addresses that were configured with a slash at their end make two of it.
  url.pathname = given.pathname.replace(/^\/+/, '/');
  url.search = given.search;
  return url;
}

/** Whether two addresses mean the same thing of a server, whose public name may change. */
export function isSameHref(a: string, b: string): boolean {
  return pathOf(a) === pathOf(b);
}

/** A provider's queries name the administrator's view of things, which has no links to upload by. */
export function plainHref(href: string): string {
  return href.replace('/api/admin/', '/api/');
}

/** An address without the host, and without a second slash that a configured one may bring in. */
export function pathOf(href: string): string {
  const path = URL.canParse(href) ? new URL(href).pathname : href;
  return path.replace(/^\/+/, '/');
}
