/** What one look at the machine has found. */
export interface Check {
  readonly name: string;
  /** 'warn': it works, but something will be in the way. 'fail': something does not work. */
  readonly status: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** What to do, or what is to be known; null if nothing is. */
  readonly advice: string | null;
}

export const ok = (name: string, found: string, advice: string | null = null): Check => ({
  name,
  status: 'ok',
  found,
  advice,
});
export const warn = (name: string, found: string, advice: string): Check => ({ name, status: 'warn', found, advice });
export const fail = (name: string, found: string, advice: string): Check => ({ name, status: 'fail', found, advice });

/** Said wherever shared memory is too small. */
export const howToEnlarge =
  'Docker: `docker run --shm-size=1g`, in compose files `shm_size: 1gb`; Kubernetes: an emptyDir of medium Memory at ' +
  '/dev/shm; elsewhere `mount -o remount,size=…% /dev/shm`';
