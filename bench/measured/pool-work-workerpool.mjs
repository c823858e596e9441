// The same, in the way that workerpool wants it.
import workerpool from 'workerpool';
import * as work from './pool-work.mjs';

workerpool.worker({ ...work });
