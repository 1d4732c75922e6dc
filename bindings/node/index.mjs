import netcluster from './dist/index.js';

export const {
  Batch,
  Client,
  Lifecycle,
  LossNotice,
  Message,
  NetclusterError,
  Subscription,
  connect,
  defaultSocketPath,
  defaultSocketPaths,
} = netcluster;
export default netcluster;
