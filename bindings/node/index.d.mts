import * as netcluster from './dist/index.js';

export * from './dist/index.js';
export default netcluster;
