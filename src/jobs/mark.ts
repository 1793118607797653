import type { UploadRequest } from './job-request.ts';
import { JOB_ID } from './names.ts';

/** Whose an item is: the workers on one Redis, and the job among theirs. */
export interface Owner {
  readonly installation: string;
  readonly jobId: string;
}

/** What stands in an unfinished item's description. */
export interface Mark extends Owner {
  /** Which state of which files is being uploaded. */
  readonly content: string;
  /** The id of the item whose place it is to take. */
  readonly replaces: string | undefined;
}

const CONTENT_CHARS = 22;
const MARK = new RegExp(`\\[ovaferry ([0-9a-f]+)/(${JOB_ID}) ([\\w-]+)(?: for ([\\w-]+))?\\]`, 'g');

export function markText({ installation, jobId, content, replaces }: Mark): string {
  const place = replaces === undefined ? '' : ` for ${replaces}`;
  return `[ovaferry ${installation}/${jobId} ${content.slice(0, CONTENT_CHARS)}${place}]`;
}

/** What a user wants as a description, with a mark behind it. */
export function describedWith(description: string, mark: string): string {
  return [description, mark].filter((part) => part !== '').join('\n');
}

/** The last one: ours is added behind what a user wrote, who may have copied another item's text. */
export function findMark(description: string): Mark | undefined {
  const [, installation, jobId, content, replaces] = lastMatch(description) ?? [];
  if (installation === undefined || jobId === undefined || content === undefined) return undefined;
  return { installation, jobId, content, replaces };
}

/** The description without its last mark. */
export function withoutMark(description: string): string {
  const match = lastMatch(description);
  if (!match) return description;
  const before = description.slice(0, match.index).replace(/\n$/, '');
  return before + description.slice(match.index + match[0].length);
}

/** The description without a mark that it ends with, as ours do: one in the middle is a user's own text. */
export function withoutMarkAtEnd(description: string): string {
  const match = lastMatch(description);
  const isLast = match && description.slice(match.index + match[0].length).trim() === '';
  return isLast ? withoutMark(description) : description;
}

function lastMatch(description: string): RegExpExecArray | undefined {
  return [...description.matchAll(MARK)].at(-1);
}

export function isOfContent(mark: Mark, content: string): boolean {
  return mark.content === content.slice(0, CONTENT_CHARS);
}

/** What stays on a finished item: which job made it, and of what. Where that is refused, the mark stays. */
export const UPLOAD_KEY = 'ovaferry.upload';
export const CONTENT_KEY = 'ovaferry.content';
/** What is as good as sure to name the same content, where nobody has hashed all of it. */
export const SAMPLE_KEY = 'ovaferry.sample';
/** On an item that is about to be removed: which job put another in its place. */
export const REPLACED_KEY = 'ovaferry.replaced-by';

/** Whose item it is, by what is noted on it. */
export function ownerIn(notes: ReadonlyMap<string, string>): Owner | undefined {
  const [installation, jobId] = notes.get(UPLOAD_KEY)?.split('/') ?? [];
  return installation === undefined || jobId === undefined ? undefined : { installation, jobId };
}

export function ownerText({ installation, jobId }: Owner): string {
  return `${installation}/${jobId}`;
}

const LONGEST_NAME = 128;

/** What a new item is called while the one that it replaces still has the name. */
export function interimName({ name }: Pick<UploadRequest, 'name'>, { jobId }: Owner): string {
  return withSuffix(name, ` (new, ovaferry ${shortId(jobId)})`);
}

/** What a replaced item is called until it is removed. */
export function asideName({ name }: Pick<UploadRequest, 'name'>, { jobId }: Owner): string {
  return withSuffix(name, ` (replaced, ovaferry ${shortId(jobId)})`);
}

function shortId(jobId: string): string {
  return jobId.slice(jobId.lastIndexOf('-') + 1);
}

function withSuffix(name: string, suffix: string): string {
  const cut = name.slice(0, LONGEST_NAME - suffix.length);
  // Half a character would come back as another one.
  return cut.replace(/[\uD800-\uDBFF]$/, '') + suffix;
}
