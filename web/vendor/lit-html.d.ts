// The server has the module itself from the package.
export * from 'lit-html';
