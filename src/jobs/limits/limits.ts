/** A value that changes with the time. Moments are milliseconds since the epoch. */
interface Timetable<T> {
  at(moment: number): T;
  /** When another value may hold; undefined for never. */
  nextChange(moment: number): number | undefined;
}

/** Bytes per second; undefined for no limit. */
type Bandwidth = Timetable<number | undefined>;

/** Periods in which bytes are sent. */
export interface Windows {
  /** When the one that is open closes; undefined while none is open. Infinity for never. */
  closesAt(moment: number): number | undefined;
  /** When the next one opens, or the moment itself while one is open. */
  opensAt(moment: number): number;
}

/** What limits a target, over all workers. */
export interface TargetLimits {
  readonly name: string;
  /** Transfers at once. */
  readonly concurrency: number;
  /** Imports that are followed besides. More of them hold back what has not begun. */
  readonly imports: number;
  readonly bandwidth: Bandwidth;
  /** Bytes that may be begun and not imported: of this target, and of a group that it belongs to. */
  readonly inFlight: readonly { readonly of: string; readonly bytes: number }[];
  /** Undefined for always. */
  readonly windows: Windows | undefined;
  readonly atWindowEnd: 'finish' | 'trickle' | 'drop';
}

/** What limits this process. It may change at any moment, so it is asked for and never kept. */
export interface Limits {
  readonly targets: ReadonlyMap<string, TargetLimits>;
  /** Transfers at once. */
  readonly concurrency: number;
  readonly bandwidth: Bandwidth;
  /** What it shares with all other processes of its site. */
  readonly line: { readonly name: string; readonly bandwidth: Bandwidth } | undefined;
}
