import { XmlError } from '../xml.ts';

/**
 * Decodes UTF-8, or UTF-16 with a byte order mark; the result has no mark. Any other declared
 * encoding is refused, because the parser would read other characters than the guard looked at.
 *
 * @throws XmlError
 */
export function decodeXml(bytes: Uint8Array): string {
  const utf16 = utf16Label(bytes);
  let text: string;
  try {
    text = new TextDecoder(utf16 ?? 'utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new XmlError(`is not valid ${utf16 ?? 'UTF-8'} text`);
  }
  const declared = /^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([^"']{1,40})["']/.exec(text)?.[1];
  if (declared && utf16 === undefined && !/^(utf-?8|us-ascii|ascii)$/i.test(declared)) {
    if (!/^\p{ASCII}*$/u.test(text)) throw new XmlError(`declares the encoding ${declared}`);
  }
  return text;
}

function utf16Label(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  return undefined;
}
