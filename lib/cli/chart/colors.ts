/** The range of the numbers that there are; [NaN, NaN] without any. */
export function rangeOf(values: Iterable<number>): readonly [low: number, high: number] {
  let low = Number.NaN;
  let high = Number.NaN;
  for (const value of values) {
    // Also true while they are NaN.
    if (!(value >= low) && !Number.isNaN(value)) low = value;
    if (!(value <= high) && !Number.isNaN(value)) high = value;
  }
  return [low, high];
}

/** Where a number lies in its range, from 0 to 1; in the middle of an empty one. */
export const shareOf = (value: number, [low, high]: readonly [number, number]): number =>
  low < high ? (value - low) / (high - low) : 0.5;

/** Viridis: reads the same in black and white, and for those who are colour-blind. */
export async function viridis(): Promise<(share: number) => string> {
  return (await import('d3-scale-chromatic')).interpolateViridis;
}
