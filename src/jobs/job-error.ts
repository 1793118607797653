import { basename } from 'node:path';
import type { FerryError } from '../errors.ts';
import type { JobError } from './job-data.ts';

/** A failure as the operator reads it: the source's file name first, then the member. */
export function toJobError(
  failure: FerryError,
  { source, path = source }: { readonly source: string; readonly path?: string },
  permanent: boolean,
): JobError {
  const name = basename(source);
  let { message } = failure;
  for (const full of [path, source]) message = message.replaceAll(full, basename(full));
  const { member } = failure.facts;
  if (typeof member === 'string' && !message.includes(member)) message = `${member}: ${message}`;
  // Names from an archive may hold what a terminal would obey.
  message = message.replaceAll(/\p{Cc}+/gu, ' ');
  return {
    code: failure.code,
    message: message.startsWith(name) ? message : `${name}: ${message}`,
    permanent,
    hint: failure.hint,
  };
}
