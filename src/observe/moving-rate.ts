/** Changes that are older are forgotten, but for the last few. */
const WINDOW_MS = 15_000;
const KEPT_POINTS = 4;
/** Two changes that are closer together say nothing. */
const SHORTEST_MS = 500;

/**
 * How fast a count has grown of late. It grows in lumps, and is looked at at any time: what is measured
 * is the time between changes.
 */
export class MovingRate {
  #points: { at: number; count: number }[] = [];

  add(count: number, at = performance.now()): void {
    if (this.#points.at(-1)?.count === count) return;
    this.#points.push({ at, count });
    const young = this.#points.findIndex((point) => at - point.at <= WINDOW_MS);
    const spare = Math.max(0, this.#points.length - KEPT_POINTS);
    this.#points = this.#points.slice(Math.min(young, spare));
  }

  /** Per second; undefined while there is nothing to go by. */
  perSecond(now = performance.now()): number | undefined {
    const [first, ...others] = this.#points;
    const last = others.at(-1);
    if (!first || !last || last.at - first.at < SHORTEST_MS) return undefined;
    const gapMs = (last.at - first.at) / others.length;
    // Once a change is overdue, it goes slower than it did.
    const elapsed = Math.max(last.at - first.at, now - first.at - 2 * gapMs);
    return Math.max(0, ((last.count - first.count) / elapsed) * 1_000);
  }
}
