// Programs of bench/measured that run as several processes at once, and what their parent asks of them.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const measured = (file) => fileURLToPath(new URL(`../measured/${file}`, import.meta.url));

/** Starts a file of bench/measured, which is told its part as JSON and `answer`s. It ends with its parent. */
export const startMember = (file, part) => fork(measured(file), [JSON.stringify(part)]);

/** The same on the given processors alone. */
export function startMemberOn(processors, file, part) {
  const options = { execPath: 'taskset', execArgv: ['-c', processors, process.execPath] };
  return fork(measured(file), [JSON.stringify(part)], options);
}

/** Sends a request to a member, with what it needs to know, and gives its answer; fails if the member dies instead. */
export async function ask(child, request, ...args) {
  child.send([request, ...args]);
  const answered = new AbortController();
  const limit = AbortSignal.any([answered.signal, AbortSignal.timeout(5 * 60_000)]);
  const died = once(child, 'exit', { signal: limit }).then(() => {
    throw new Error(`A member died instead of answering '${request}'`);
  });
  try {
    const [answer] = await Promise.race([once(child, 'message', { signal: limit }), died]);
    return answer;
  } finally {
    died.catch(() => {});
    answered.abort();
  }
}

/** In a member: answers each request by the function of its name. */
export function answer(functions) {
  process.on('message', async ([request, ...args]) => process.send((await functions[request](...args)) ?? 'done'));
  process.on('disconnect', () => process.exit());
}

/** Resolves when the members are dead, and hold on to nothing any more. */
export async function end(members) {
  const living = members.filter((member) => member.exitCode === null && member.signalCode === null);
  await Promise.all(
    living.map((member) => {
      member.kill('SIGKILL');
      return once(member, 'exit');
    }),
  );
}

/** Asks a member for each of `parts` to `prepare`, then all together to `work`; gives what each made of that. */
export async function workTogether(file, parts) {
  const members = parts.map((part) => startMember(file, part));
  try {
    await Promise.all(members.map((member) => ask(member, 'prepare')));
    return await Promise.all(members.map((member) => ask(member, 'work')));
  } finally {
    await end(members);
  }
}
