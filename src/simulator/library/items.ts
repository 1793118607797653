import { createHash } from 'node:crypto';

/** What the simulated library holds, as its API shows it. */
export interface LibraryItem {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly type: 'OVF' | 'ISO' | 'VM';
  readonly size: number;
  readonly version: string;
  readonly content_version: string;
  readonly metadata_version: string;
  readonly creation_time: string;
  readonly last_modified_time: string;
  readonly created_on: string;
  readonly updated_on: string;
  readonly library: { readonly id: string; readonly name: string; readonly type: 'LOCAL' };
  readonly library_id: string;
  readonly urn: string;
}

const DISTRIBUTIONS = ['ubuntu', 'CentOS', 'debian', 'rocky', 'windows'] as const;
const TYPES = ['ISO', 'OVF', 'VM'] as const;
const LIBRARIES = ['VSS-Nix', 'VSS-Windows'] as const;
const DAY_MS = 86_400_000;
const BEGIN = Date.UTC(2021, 3, 12, 9, 48, 24);

/** So many items, always the same ones. */
export function libraryItems(count: number): LibraryItem[] {
  return Array.from({ length: count }, (_, i) => itemAt(i));
}

function itemAt(i: number): LibraryItem {
  const distribution = DISTRIBUTIONS[i % DISTRIBUTIONS.length] as string;
  const type = TYPES[i % TYPES.length] as LibraryItem['type'];
  const id = uuidOf(`item ${i}`);
  const library = LIBRARIES[distribution === 'windows' ? 1 : 0] as string;
  const created = new Date(BEGIN + i * DAY_MS);
  const changed = new Date(BEGIN + i * DAY_MS + 33_385);
  return {
    id,
    name: `${distribution}-${20 + (i % 7)}.${String(i).padStart(2, '0')}-${type === 'ISO' ? 'live' : 'server'}`,
    description: i % 4 === 0 ? '' : `Image ${i} - 100%_${distribution}`,
    type,
    size: 1_046_083_584 + (i % 50) * 1_000,
    version: String((i % 3) + 1),
    content_version: String((i % 4) + 1),
    metadata_version: '1',
    creation_time: created.toISOString(),
    last_modified_time: changed.toISOString(),
    created_on: spoken(created),
    updated_on: spoken(changed),
    library: { id: uuidOf(library), name: library, type: 'LOCAL' },
    library_id: uuidOf(library),
    urn: `urn:vapi:com.vmware.content.Library.Item:${id}`,
  };
}

/** `2021-04-12 Mon 09:48:24 EDT`, as the service writes it. */
function spoken(moment: Date): string {
  const [day = '', time = ''] = moment.toISOString().split(/[T.]/);
  const name = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][moment.getUTCDay()];
  return `${day} ${name} ${time} UTC`;
}

function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
