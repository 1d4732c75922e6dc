import netcluster from './dist/index.js';

export const {
  Batch,
  Broker,
  Client,
  Lifecycle,
  LossNotice,
  Message,
  NetclusterError,
  Subscription,
  brokerPackage,
  connect,
  defaultSocketPath,
  defaultSocketPaths,
  findBroker,
  startBroker,
} = netcluster;
export default netcluster;
