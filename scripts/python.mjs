// The Python that builds and tests the package: NDSHM_PYTHON, that of the project's virtual environment, or python3.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const own = fileURLToPath(new URL('../.venv/bin/python', import.meta.url));

export const python = process.env['NDSHM_PYTHON'] ?? (existsSync(own) ? own : 'python3');
