/** XML as the simulator writes it. It has its own, so that the client's can't be wrong together with it. */
export type Markup = { readonly markup: string };
type Value = string | number | boolean | undefined;

export function element(
  name: string,
  attributes: Readonly<Record<string, Value>> = {},
  ...content: (Markup | string | undefined)[]
): Markup {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escapeXml(String(value))}"`)
    .join('');
  const inner = content
    .map((part) => (typeof part === 'string' ? escapeXml(part) : (part?.markup ?? '')))
    .join('');
  return {
    markup: inner === '' ? `<${name}${written}/>` : `<${name}${written}>${inner}</${name}>`,
  };
}

export function documentOf(root: Markup): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${root.markup}\n`;
}

export const VCLOUD = 'http://www.vmware.com/vcloud/v1.5';
export const OVF = 'http://schemas.dmtf.org/ovf/envelope/1';

function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/[\t\n\r]/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** MIME types of the API, without their `application/vnd.vmware.vcloud.` and `+xml`. */
export function mime(kind: string): string {
  return `application/vnd.vmware.vcloud.${kind}+xml`;
}

export function link(rel: string, href: string, type?: string, name?: string): Markup {
  return element('Link', { rel, href, type: type === undefined ? undefined : mime(type), name });
}
