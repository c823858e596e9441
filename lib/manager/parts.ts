// What a process that uses managers loads, in one go, when it first does.
export { addressText, parseAddress, privateAddress } from './address';
export { checkAuthKey } from './auth';
export { addBuiltins } from './builtins';
export { callerNow } from './caller';
export { openSession } from './client';
export { Connection } from './connection';
export { HostProcess } from './host-process';
export { markByReference } from './hosted';
export { checkLimits } from './limits';
export { moduleName, registerModule } from './modules';
export { Server } from './server';
