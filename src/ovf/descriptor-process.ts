import { XmlError } from '../xml.ts';
import { decodeXml } from './decode-xml.ts';
import { type DescriptorFacts, parseDescriptor } from './descriptor.ts';

/** What the parent asks its child. */
export interface DescriptorQuestion {
  /** Base64. */
  readonly encoded: string;
  /** Whether it wants to know what the package is. */
  readonly contents: boolean;
}

/** What the child says to its parent: the facts, or why there are none. */
export type DescriptorAnswer =
  | { readonly ok: true; readonly facts: DescriptorFacts; readonly text: string }
  | { readonly ok: false; readonly reason: string };

/**
 * The child process in which strangers' descriptors are parsed, one after the other. It may die; nothing
 * else does. It ends when nobody is there any more to ask it.
 */
process.on('message', ({ encoded, contents }: DescriptorQuestion) => {
  process.send?.(answer(Buffer.from(encoded, 'base64'), contents));
});

function answer(bytes: Buffer, contents: boolean): DescriptorAnswer {
  if (/^\s*<(!doctype html|html)\b/i.test(bytes.subarray(0, 200).toString('latin1'))) {
    return { ok: false, reason: 'is an HTML page, not an OVF envelope' };
  }
  try {
    const text = decodeXml(bytes);
    return { ok: true, facts: parseDescriptor(text, { contents }), text };
  } catch (error) {
    if (error instanceof XmlError) return { ok: false, reason: error.message };
    throw error;
  }
}
