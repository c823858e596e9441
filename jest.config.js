// Tests run the built package, as users have it: `require('ndshm')` resolves to this one by its own name.
const swc = (parser) => ['@swc/jest', { jsc: { target: 'es2022', parser } }];

module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: {
    '\\.ts$': swc({ syntax: 'typescript' }),
    // Published as an ES module only, which jest cannot require().
    'node_modules/numpy-ts/.*\\.js$': swc({ syntax: 'ecmascript' }),
  },
  transformIgnorePatterns: ['node_modules/(?!numpy-ts/)'],
  globalSetup: '<rootDir>/test/helpers/global-setup.ts',
  globalTeardown: '<rootDir>/test/helpers/global-teardown.ts',
  testTimeout: 30_000,
  // Who makes something reaps what was abandoned, and some files leave such things to be found: one at a time.
  maxWorkers: 1,
};
