/**
 * netcluster: an event bus for the processes of a machine and of a local network.
 *
 * @packageDocumentation
 */
export { Client, connect } from './client';
export type { Listener } from './client';
export { Batch } from './batch';
export { Message } from './message';
export type { EncodingName } from './message';
export { LossNotice, Subscription } from './subscription';
export type { SubscribeOptions } from './subscription';
export { NetclusterError } from './errors';
export type { BrokerReason, ErrorCode } from './errors';
export { Lifecycle } from './lifecycle';
export type { LifecycleEvents, Lost } from './lifecycle';
export type { LossReason, Source } from './control';
export type { ConnectOptions } from './options';
export type { ReconnectOptions } from './backoff';
export type { LinkSettings } from './link';
export type { DataOf, EventMap, EventName, MessageOf } from './types';
export { defaultSocketPath, defaultSocketPaths } from './paths';
export { Broker, startBroker } from './broker';
export type { BrokerOptions } from './broker';
export { brokerPackage, findBroker } from './binary';
export { pipedclient, PipedClient } from './original/piped-client';
export { pipedserver, PipedServer } from './original/piped-server';
export { NCServer } from './original/server';
export { NCAgent } from './original/agent';
export type { Envelope, EnvelopeListener } from './original/envelope';
export type { ChannelConfig, ServerConfig } from './original/config';
