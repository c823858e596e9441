/** A number in as few characters as tell enough of it: '0.333333', '1.5e+9'. */
export function shortNumber(value: number, digits = 6): string {
  const rounded = Number(value.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size !== 0 && Number.isFinite(size) && (size >= 1e7 || size < 1e-4)) return exponential(rounded);
  return String(rounded);
}

const exponential = (value: number): string => value.toExponential().replace('e+', 'e');

/** The marks of an axis, with no more digits than it takes to tell them apart. */
export function tickLabels(ticks: readonly number[]): string[] {
  const step = ticks.length < 2 ? 0 : Math.abs((ticks[1] as number) - (ticks[0] as number));
  for (let digits = 1; digits < 17; digits++) {
    if (ticks.every((tick) => Math.abs(Number(tick.toPrecision(digits)) - tick) <= step / 100)) {
      return ticks.map((tick) => shortNumber(tick, digits));
    }
  }
  return ticks.map(String);
}
