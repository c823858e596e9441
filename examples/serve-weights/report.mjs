import { progressBar } from 'ndshm';
import { drawChart } from './chart.mjs';

const columnsOfModel = 10;

const number = (value) => Math.round(value).toLocaleString('en');
const percent = (share) => `${(share * 100).toFixed(1)} %`;
const nameOf = (parts) => `${parts}×${parts}`;

/** What shows a progress bar for each model in turn, when it is told which step an answer comes from. */
export function progressOfModels(models, stepsOfModel) {
  let shown = -1;
  let show;
  return (step) => {
    const model = Math.min(Math.floor(step / stepsOfModel), models.length - 1);
    if (model > shown) {
      show?.({ done: stepsOfModel, total: stepsOfModel });
      show = progressBar(`training ${nameOf(models[model]).padEnd(5)}`, { stream: process.stdout });
      shown = model;
    }
    // A server may still answer by the model before.
    if (model === shown) show({ done: step - model * stepsOfModel, total: stepsOfModel });
  };
}

export function report({ answers, seconds, latency, failed, tally, models, stepsOfModel, replacements, locked }) {
  const groups = models.map((parts, model) => ({
    caption: nameOf(parts),
    shares: Array.from({ length: columnsOfModel }, (_, n) => {
      const [first, end] = [n, n + 1].map((at) => Math.floor((model + at / columnsOfModel) * stepsOfModel));
      return tally.accuracy(first, end);
    }),
  }));
  const lastStep = models.length * stepsOfModel;
  const { errors, timeouts, refused, lost } = failed;
  console.log(`
Right answers in the course of the training, by models that see an image as so many parts:

${drawChart(groups)}

answers       ${number(answers)} in ${seconds.toFixed(1)} s, ${number(answers / seconds)}/s
latency       under ${latency.p50 + 1} ms for half of the answers, ${latency.p99 + 1} ms for 99 %, ${latency.max + 1} ms for all
failed        ${errors} errors, ${timeouts} timeouts, ${refused} refused, ${lost} lost
torn reads    ${number(tally.torn)}${locked ? '' : ', for neither side took the lock'}
replacements  ${models.length - 1}; seen by the servers: ${replacements.join(', ')}
steps         ${number(tally.stepsSeen)} of ${number(lastStep + 1)} have been met by answers
accuracy      ${percent(tally.accuracy(0))} untrained, ${percent(tally.accuracy(lastStep))} in the end`);
}
