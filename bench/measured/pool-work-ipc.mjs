// The same, for a process that is sent one task at a time.
import { answer } from '../support/members.mjs';
import * as work from './pool-work.mjs';

answer(work);
