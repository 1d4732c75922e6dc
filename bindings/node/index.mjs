import netcluster from './dist/index.js';

export const {
  Batch,
  Broker,
  Client,
  Lifecycle,
  LossNotice,
  Message,
  NCAgent,
  NCServer,
  NetclusterError,
  PipedClient,
  PipedServer,
  Subscription,
  brokerPackage,
  connect,
  defaultSocketPath,
  defaultSocketPaths,
  findBroker,
  pipedclient,
  pipedserver,
  startBroker,
} = netcluster;
export default netcluster;
