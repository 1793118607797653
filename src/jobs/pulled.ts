import type { Upload } from './upload-deps.ts';

/** A copy that the other server fetches by itself is found again as what such a server makes. */
export function asPulled<U extends Upload>(upload: U): U {
  const { request, deps } = upload;
  if (request.pull || !deps.checkpoint.current.isPulled) return upload;
  return { ...upload, request: { ...request, pull: true } };
}
