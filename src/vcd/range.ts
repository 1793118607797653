/** A range of a file: bytes [start, end) of `total`. */
export interface FileRange {
  readonly start: number;
  readonly end: number;
  readonly total: number;
}

/** As HTTP counts, the end inclusively: everywhere else it is exclusive. */
export function contentRange(start: number, end: number, total: number): string {
  return `bytes ${start}-${end - 1}/${total}`;
}
