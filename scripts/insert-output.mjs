// Puts what a command printed into a page, between <!-- NAME --> and <!-- /NAME -->, so that what the page shows is what
// the command says:
//   npm run --silent demo | node scripts/insert-output.mjs README.md demo
import { readFileSync, writeFileSync } from 'node:fs';

const [page, name] = process.argv.slice(2);
const output = readFileSync(0, 'utf8').trim();
const text = readFileSync(page, 'utf8');
const place = new RegExp(`(<!-- ${name}[^>]*-->\\n)[\\s\\S]*?(<!-- /${name} -->)`);
if (output === '' || !place.test(text)) {
  console.error(`Nothing to insert, or no <!-- ${name} --> in ${page}`);
  process.exit(1);
}
writeFileSync(
  page,
  text.replace(place, (_, start, end) => `${start}\n\`\`\`text\n${output}\n\`\`\`\n\n${end}`),
);
