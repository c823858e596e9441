void require('./checks.cjs')(require('ndshm'), 'require');
