import { decodeXml, XmlError } from '../xml.ts';
import { type DescriptorFacts, parseDescriptor } from './descriptor.ts';

/** What the child says to its parent: the facts, or why there are none. */
export type DescriptorAnswer =
  | { readonly ok: true; readonly facts: DescriptorFacts; readonly text: string }
  | { readonly ok: false; readonly reason: string };

/** The child process in which a stranger's descriptor is parsed. It may die; nothing else does. */
process.once('message', (encoded: string) => {
  process.send?.(answer(Buffer.from(encoded, 'base64')), () => process.disconnect());
});

function answer(bytes: Buffer): DescriptorAnswer {
  try {
    const text = decodeXml(bytes);
    return { ok: true, facts: parseDescriptor(text), text };
  } catch (error) {
    if (error instanceof XmlError) return { ok: false, reason: error.message };
    throw error;
  }
}
