/** Throws unless these are the results of `tasks` tasks that each add one to its number. */
export function checkIncremented(results, tasks) {
  if (results.length !== tasks) throw new Error(`${results.length} results of ${tasks} tasks`);
  const wrong = results.findIndex((result, n) => result !== n + 1);
  if (wrong !== -1) throw new Error(`Task ${wrong} gave ${results[wrong]}`);
}

/** So many tasks, each after the result of the one before. */
export async function inTurn(tasks, run) {
  for (let n = 0; n < tasks; n++) {
    const result = await run(n);
    if (result !== n + 1) throw new Error(`Task ${n} gave ${result}`);
  }
}
