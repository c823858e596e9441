export * from './numpy.js';
