import assert from 'node:assert/strict';
import * as ndshm from 'ndshm';
// By name too: whether a runtime finds the names of a CommonJS module behind a wrapper is its own affair.
import { create, SharedArray } from 'ndshm';
import checks from './checks.cjs';

assert.equal(create, ndshm.create);
assert.equal(typeof SharedArray, 'function');
await checks(ndshm, 'import');
