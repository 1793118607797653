import { classify } from '../errors.ts';
import type { ByteSource } from '../source/byte-source.ts';
import type { Container } from './container.ts';
import { NameIndex, plainName } from './names.ts';

/** A file of a container, by the name that it has there. */
export interface Member {
  readonly name: string;
  readonly source: ByteSource;
}

/**
 * Finds what a descriptor names, however it is spelled: the literal name first, then percent-decoded
 * once, then whatever is alike. What a folder has below itself is listed when it is asked for; what
 * can't be listed is asked for by name.
 */
export class Members {
  readonly #container: Container;
  readonly #folder: string;
  readonly #lists = new Map<string, Promise<NameIndex<string>>>();

  /** @param folder the descriptor's inside the container, '' or ending in '/' */
  constructor(container: Container, folder: string) {
    this.#container = container;
    this.#folder = folder;
    this.#lists.set('', Promise.resolve(new NameIndex(container.names, (name) => name)));
  }

  /** @throws FerryError PACKAGE_INCOMPLETE, PACKAGE_UNSAFE; whatever opening it throws */
  async open(href: string): Promise<Member> {
    const found = await this.#find(href);
    if (found !== undefined) return this.#open(found);
    // The container says what it misses.
    const [plain, literal] = [plainName(href), withoutDots(href)];
    const first = await orMissing(this.#open(this.#folder + plain), plain !== literal);
    return first ?? this.#open(this.#folder + literal);
  }

  /** Undefined if there is none. */
  async openIfThere(href: string): Promise<Member | undefined> {
    const found = await this.#find(href);
    if (found !== undefined) return this.#open(found);
    if (this.#container.isListed) return undefined;
    return orMissing(this.open(href), true);
  }

  /** All names beside a file of the descriptor, as far as they can be listed. */
  async besides(href: string): Promise<readonly string[]> {
    const plain = this.#folder + plainName(href);
    const folder = plain.slice(0, plain.lastIndexOf('/') + 1);
    const { list, names } = this.#container;
    if (folder !== '' && list) return list(folder);
    return names.filter(
      (name) => name.startsWith(folder) && !name.slice(folder.length).includes('/'),
    );
  }

  async #open(name: string): Promise<Member> {
    return { name, source: await this.#container.open(name) };
  }

  async #find(href: string): Promise<string | undefined> {
    const wanted = [withoutDots(href), plainName(href)].map((name) => this.#folder + name);
    const found = (await this.#list('')).find(wanted);
    if (found !== undefined || !this.#container.list) return found;
    for (const path of new Set(wanted)) {
      const below = await this.#walk(path);
      if (below !== undefined) return below;
    }
    return undefined;
  }

  /** Folder by folder, since each may be spelled in another way. */
  async #walk(path: string): Promise<string | undefined> {
    const steps = path.split('/');
    let at = '';
    for (const [i, step] of steps.entries()) {
      const name = (await this.#list(at)).find([step, plainName(step)]);
      if (name === undefined) return undefined;
      at += i < steps.length - 1 ? `${name}/` : name;
    }
    return at;
  }

  /** Names in a folder, without the folder's. */
  #list(folder: string): Promise<NameIndex<string>> {
    const known = this.#lists.get(folder);
    if (known !== undefined) return known;
    const { list } = this.#container;
    const listed = Promise.resolve(list?.(folder) ?? []).then(
      (names) => new NameIndex(names, (name) => name),
    );
    this.#lists.set(folder, listed);
    return listed;
  }
}

function withoutDots(href: string): string {
  return href.replace(/^(\.\/)+/, '');
}

async function orMissing<T>(opening: Promise<T>, mayMiss: boolean): Promise<T | undefined> {
  try {
    return await opening;
  } catch (error) {
    if (mayMiss && classify(error).code === 'PACKAGE_INCOMPLETE') return undefined;
    throw error;
  }
}
