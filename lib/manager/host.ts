// The program of a manager's process: hosts objects until the process that started it closes it, or is gone.
import { binding } from '../binding';
import { loadFunction } from '../pool/load-function';
import { endWithParent, parentSocket } from '../pool/parent-watch';
import { parseAddress } from './address';
import { addBuiltins } from './builtins';
import type { HostAnswer, HostConfig, HostRequest } from './host-process';
import { registerModule } from './modules';
import { Server } from './server';
import { encodeThrown } from './thrown';

/** For an orderly end without the process that started this one. */
const graceMs = 2000;

let server: Server | undefined;

async function start(config: HostConfig): Promise<string> {
  const { address, authKey, modules } = config;
  server = await Server.start({
    ...config,
    address: parseAddress(address),
    authKey: authKey === undefined ? undefined : Buffer.from(authKey),
    prepare: async (objects) => {
      addBuiltins(objects, modules);
      for (const module of modules) await registerModule(module, objects);
    },
  });
  return server.address;
}

async function answer(request: HostRequest): Promise<string | undefined> {
  switch (request.ask) {
    case 'start':
      return start(request.config);
    case 'register':
      server?.objects.register(request.name, await loadFunction(request.spec), request.exposed);
      return undefined;
    case 'close':
      await end();
  }
}

async function end(): Promise<never> {
  await server?.close();
  process.exit();
}

process.on('message', (request: HostRequest) => {
  const send = (message: HostAnswer) => process.send?.(message);
  answer(request).then(
    (value) => send({ ndshmManager: request.number, value }),
    (error: unknown) => send({ ndshmManager: request.number, thrown: encodeThrown(error) }),
  );
});
process.on('disconnect', () => void end());
// Whatever its objects are doing.
endWithParent(parentSocket, null, graceMs);
binding.closeDescriptor(parentSocket);
// A terminal sends these to whole process groups: it is the starter's to say when it is over.
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('SIGTERM', () => void end());
