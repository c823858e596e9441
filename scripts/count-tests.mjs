#!/usr/bin/env node
// Adds up the results of test runs: jest's as JSON, pytest's as JUnit XML. Fails if one has none.
//   count-tests.mjs FILE...
import { readFileSync } from 'node:fs';

function ofJest(text) {
  const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(text);
  return [numPassedTests, numFailedTests + numRuntimeErrorTestSuites];
}

function ofPytest(xml) {
  const [suite] = /<testsuite .*?>/.exec(xml);
  const count = (name) => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)[1]);
  const failed = count('failures') + count('errors');
  return [count('tests') - failed - count('skipped'), failed];
}

let passed = 0;
let failed = 0;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, 'utf8');
  const [more, wrong] = file.endsWith('.xml') ? ofPytest(text) : ofJest(text);
  console.log(`${file.replace(/^.*\//, '')}: ${more} passed, ${wrong} failed`);
  passed += more;
  failed += wrong;
}
console.log(`${passed} passed, ${failed} failed`);
