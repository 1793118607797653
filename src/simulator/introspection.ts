import type { SentRange } from './model.ts';
import type { World } from './world.ts';

/** One item as `GET /_simulator/items` lists it. */
export interface SeenItem {
  readonly name: string;
  readonly description: string;
  readonly catalog: string;
  readonly org: string;
  readonly kind: 'vAppTemplate' | 'media' | 'vApp';
  readonly status: number;
  readonly imageType: string | null;
  readonly storageProfile: string | null;
  /** ISO 8601; null for never. */
  readonly leaseEnds: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly files: readonly SeenFile[];
}

interface SeenFile {
  readonly name: string;
  /** Bytes; null where the descriptor does not say and the file is not complete. */
  readonly size: number | null;
  /** Bytes that are stored. */
  readonly received: number;
  readonly sha256: string;
  /** Milliseconds since the epoch; null while bytes are missing. */
  readonly completedAt: number | null;
  /** Every PUT in order; `end` is exclusive. */
  readonly ranges: readonly SentRange[];
}

export function seenItems(world: World): SeenItem[] {
  return [...world.items()].map((item) => ({
    name: item.name,
    description: item.description,
    catalog: item.catalog.name,
    org: item.catalog.org.name,
    kind: item.entity.kind,
    status: item.entity.status,
    imageType: item.entity.imageType ?? null,
    storageProfile: item.entity.profile?.name ?? null,
    leaseEnds: item.entity.leaseEnds?.toISOString() ?? null,
    metadata: Object.fromEntries(
      [...item.entity.metadata].map(([key, { text }]) => [key, text] as const),
    ),
    files: item.entity.received.map(({ name, size, complete, completedAt, sink, ranges }) => ({
      name,
      size: size ?? (complete ? sink.stored : null),
      received: sink.stored,
      sha256: sink.digest('sha256'),
      completedAt: completedAt ?? null,
      ranges,
    })),
  }));
}
