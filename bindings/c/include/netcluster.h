/*
 * libnetcluster: client of the event bus netcluster.
 *
 *   netcluster_client *client;
 *   if (netcluster_connect_default(NULL, &client) != NETCLUSTER_OK) {
 *       fprintf(stderr, "%s\n", netcluster_last_error());
 *       return 1;
 *   }
 *   netcluster_emit_text(client, "greeting", "hello");
 *   netcluster_disconnect(client);
 *   netcluster_client_free(client);
 *
 * Errors: functions return a code, and netcluster_last_error() says in words what is wrong and
 * what to do; it is the calling thread's own. What a function writes through a pointer is
 * unspecified if it fails, unless its comment says NULL.
 *
 * Pointers: a handle is valid from the function that makes it to the one that frees it,
 * which must not run while another thread uses the handle. Strings are NUL-terminated UTF-8 (a path
 * on Unix: any bytes), and copied. NULL where it is not allowed, a string that is no UTF-8,
 * a number out of range give codes. Freeing NULL is nothing.
 *
 * Threads: a client, its subscriptions and its messages may be used by any thread, several at
 * once. Each client has two threads of its own. Listeners run on one of them, one at a time, and
 * `user` goes there with them; its destructor may run on any thread. Inside a listener
 * nothing waits: netcluster_on returns before the broker acknowledged, netcluster_emit
 * returns NETCLUSTER_BACKPRESSURE, what would wait for an answer returns
 * NETCLUSTER_INSIDE_LISTENER. A listener may free its own client.
 *
 * fork: a client belongs to the process that connected. In a child that runs no new program
 * its functions return NETCLUSTER_FORKED, and the handle must not be freed.
 */


#ifndef NETCLUSTER_H
#define NETCLUSTER_H

/* Made by cbindgen from the sources of libnetcluster: change those. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Version of the ABI that this header describes, as the soname has it: what is compiled with it
 * runs with every library whose netcluster_abi_version() is the same. */
#define NETCLUSTER_ABI_VERSION "0.1"


// What a function returns. The numbers never change; new ones may come.
typedef enum netcluster_error {
  // It is done.
  NETCLUSTER_OK = 0,
  // An error that this version of the library has no code for; see the text.
  NETCLUSTER_OTHER = 1,
  // No broker answers at this path.
  NETCLUSTER_BROKER_NOT_RUNNING = 2,
  // The socket is there, but this user may not connect to it.
  NETCLUSTER_PERMISSION_DENIED = 3,
  // The directory of a default socket may be a stranger's.
  NETCLUSTER_UNTRUSTED_SOCKET = 4,
  // None of the default sockets can be used.
  NETCLUSTER_NONE_ANSWERS = 5,
  // The connection could not be made for another reason.
  NETCLUSTER_CONNECT = 6,
  // The connection is down at the moment.
  NETCLUSTER_NOT_CONNECTED = 7,
  // The connection ended and will not come back.
  NETCLUSTER_DISCONNECTED = 8,
  // The broker ended the connection.
  NETCLUSTER_CLOSED_BY_BROKER = 9,
  // The other end speaks another version of the protocol.
  NETCLUSTER_PROTOCOL_VERSION = 10,
  // The broker sent bytes that are no protocol.
  NETCLUSTER_PROTOCOL = 11,
  // The event's name is not allowed.
  NETCLUSTER_NAME = 12,
  // The pattern is not allowed.
  NETCLUSTER_PATTERN = 13,
  // The broker refused the pattern.
  NETCLUSTER_PATTERN_REFUSED = 14,
  // The payload is larger than the broker takes.
  NETCLUSTER_PAYLOAD_TOO_LARGE = 15,
  // There is no room for the event, and the call does not wait. Nothing was emitted.
  NETCLUSTER_BACKPRESSURE = 16,
  // Nothing came in time.
  NETCLUSTER_TIMEOUT = 17,
  // Brokers of other machines have not confirmed a listener in time.
  NETCLUSTER_CLUSTER_INCOMPLETE = 18,
  // The client belongs to the process that this one was forked of.
  NETCLUSTER_FORKED = 19,
  // The call waits for the broker, which a listener must not.
  NETCLUSTER_INSIDE_LISTENER = 20,
  // A listener panicked.
  NETCLUSTER_LISTENER_PANICKED = 21,
  // A thread could not be started.
  NETCLUSTER_THREAD = 22,
  // The payload is no UTF-8.
  NETCLUSTER_TEXT = 23,
  // Events are missing at this place; others follow.
  NETCLUSTER_LOST = 24,
  // A pointer that must not be is NULL, or not aligned.
  NETCLUSTER_POINTER = 25,
  // A string argument is no UTF-8.
  NETCLUSTER_UTF8 = 26,
  // A number is none of those that are allowed.
  NETCLUSTER_VALUE = 27,
  // A fault of the library itself. Please report it.
  NETCLUSTER_PANIC = 28,
  // Of a lifecycle event: the connection broke.
  NETCLUSTER_CONNECTION_LOST = 29,
  // Of a lifecycle event: the broker shut down and said goodbye.
  NETCLUSTER_BROKER_SHUT_DOWN = 30,
  // The broker does not do what was asked for.
  NETCLUSTER_REFUSED = 31,
  // Of a lifecycle event: whoever runs the broker will end it soon.
  NETCLUSTER_DRAINING = 32,
  // The broker's access rules do not allow it: a pattern, or, of a lifecycle event, events that
  // were not delivered.
  NETCLUSTER_FORBIDDEN = 33,
} netcluster_error;

// What happened to a connection.
typedef enum netcluster_lifecycle_kind {
  // It is connected again, and all patterns are in force. Listeners may have missed events.
  NETCLUSTER_LIFECYCLE_CONNECT = 0,
  // The connection ended; another is made unless CLOSED follows.
  NETCLUSTER_LIFECYCLE_DISCONNECT = 1,
  // Something went wrong that no call could return.
  NETCLUSTER_LIFECYCLE_ERROR = 2,
  // Events are missing at this place in the order.
  NETCLUSTER_LIFECYCLE_LOST = 3,
  // The client ended for good. Always the last.
  NETCLUSTER_LIFECYCLE_CLOSED = 4,
} netcluster_lifecycle_kind;

// Why events are missing.
typedef enum netcluster_loss_reason {
  // For a reason that this version does not know.
  NETCLUSTER_LOSS_UNKNOWN = 0,
  // The queue of this connection was full; see netcluster_options_set_latest.
  NETCLUSTER_LOSS_OVERFLOW = 1,
  // The connection to the broker broke.
  NETCLUSTER_LOSS_DISCONNECTED = 2,
  // The network lost them for good.
  NETCLUSTER_LOSS_LINK = 3,
  // Their broker died or was cut off.
  NETCLUSTER_LOSS_PEER = 4,
  // They came from another machine while the queue of this listener was full.
  NETCLUSTER_LOSS_SLOW = 5,
  // They came from another machine and one was over the broker's limit.
  NETCLUSTER_LOSS_LARGE = 6,
} netcluster_loss_reason;

// What a payload is, as its emitter says. A receiver must be prepared for a wrong claim.
typedef enum netcluster_encoding {
  // Bytes.
  NETCLUSTER_BYTES = 0,
  // Text in UTF-8.
  NETCLUSTER_UTF8_TEXT = 1,
  // A JSON text in UTF-8.
  NETCLUSTER_JSON = 2,
} netcluster_encoding;

// A connection to the broker. Any thread may use it, several at once.
typedef struct netcluster_client netcluster_client;

// An event. Inside a listener it is the library's and valid until the listener returns;
// netcluster_message_keep makes it the program's. Any thread may read it.
typedef struct netcluster_message netcluster_message;

// Options of a connection. Made with the defaults, changed by the setters, and still the
// program's after it connected. One thread at a time.
typedef struct netcluster_options netcluster_options;

// Messages that match a pattern, to be taken by any thread. If nobody takes them its
// client reads nothing further once they fill their room, also no answers.
typedef struct netcluster_subscription netcluster_subscription;

// Who would get an event.
typedef struct netcluster_audience {
  // Clients of this machine.
  uint64_t clients;
  // Brokers of other machines.
  uint64_t brokers;
} netcluster_audience;

// Who emitted an event: a broker's node id and the number of a client there.
typedef struct netcluster_source {
  // Node id of the broker.
  uint32_t node;
  // Number of the client at that broker.
  uint32_t client;
} netcluster_source;

// Events that are missing.
typedef struct netcluster_lost {
  // Whose, if `has_source`; else several emitters', or unknown.
  struct netcluster_source source;
  // Whether `source` is known.
  bool has_source;
  // Whether `count` is known.
  bool has_count;
  // Why; of the latest, if there are several.
  enum netcluster_loss_reason reason;
  // How many, if `has_count`.
  uint64_t count;
} netcluster_lost;

// One thing that happened to a connection. The library makes it and may append members in
// later versions.
typedef struct netcluster_lifecycle {
  // What happened.
  enum netcluster_lifecycle_kind kind;
  // Of DISCONNECT, ERROR and CLOSED: the code; NETCLUSTER_DISCONNECTED if it was asked for.
  enum netcluster_error code;
  // Number of the broker's error, if it ended the connection by one; else 0.
  uint32_t broker_code;
  // The same for people. Never NULL.
  const char *text;
  // Of CONNECT: who this client is now.
  struct netcluster_source source;
  // Of DISCONNECT: number of the last own event known to be queued at every target. Later
  // ones that were written are in doubt.
  uint64_t confirmed;
  // Of LOST: what is missing.
  struct netcluster_lost lost;
  // Of CONNECT: number of own events that an earlier connection had written and its broker
  // had not confirmed. They may not have arrived, and are not sent again.
  uint64_t doubtful;
} netcluster_lifecycle;

// A listener to the life of a connection. It runs as other listeners do.
typedef void (*netcluster_lifecycle_listener)(const struct netcluster_lifecycle *event, void *user);

// Frees the pointer that was passed along with a callback. Called once, on any thread,
// when the callback will not be called again; also if adding it failed.
typedef void (*netcluster_destroy)(void *user);

// A listener. It runs on the client's own thread, one at a time; while it runs nothing
// else is received, so hand long work to another thread. It must not throw and not jump
// out.
typedef void (*netcluster_listener)(const struct netcluster_message *message, void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the version of the library that is loaded, such as "0.1.0".
const char *netcluster_version(void);

// Returns the version of the ABI of the library that is loaded. A program that was
// compiled with another NETCLUSTER_ABI_VERSION must not use it.
const char *netcluster_abi_version(void);

// Asks for the broker's status as JSON; `*json` is to be freed by netcluster_string_free.
enum netcluster_error netcluster_status(const struct netcluster_client *client, char **json);

// Asks the broker for something that only whoever runs it may want, as a JSON object, such as
// `{"do":"totals"}`: see `control` in PROTOCOL.md. Its answer is JSON as well; `*json` is to be
// freed by netcluster_string_free.
enum netcluster_error netcluster_control(const struct netcluster_client *client,
                                         const char *request,
                                         char **json);

// Frees a string that the library gave; NULL is nothing.
void netcluster_string_free(char *string);

// Returns once everything emitted so far is queued at every target. The time that took, in
// nanoseconds, is written to `nanoseconds` unless that is NULL.
enum netcluster_error netcluster_ping(const struct netcluster_client *client,
                                      uint64_t *nanoseconds);

// Counts who would get an event of this name if it were emitted now.
enum netcluster_error netcluster_count_audience(const struct netcluster_client *client,
                                                const char *event,
                                                struct netcluster_audience *audience);

// Returns once the brokers of all machines know of every listener added so far.
enum netcluster_error netcluster_wait_for_cluster(const struct netcluster_client *client,
                                                  int64_t milliseconds);

// Returns who this client is for others; another one after a reconnect. Zeros for NULL.
struct netcluster_source netcluster_client_source(const struct netcluster_client *client);

// Returns the number of the last event emitted; 0: none yet.
uint64_t netcluster_last_sequence(const struct netcluster_client *client);

// Returns the number of the last own event known to be queued at every target.
uint64_t netcluster_confirmed_sequence(const struct netcluster_client *client);

// Returns the largest payload that the broker takes, in bytes.
size_t netcluster_max_payload(const struct netcluster_client *client);

// Connects to the broker whose socket is at this path. `options` may be NULL. `*client` is
// to be freed by netcluster_client_free; NULL if it fails.
enum netcluster_error netcluster_connect(const char *path,
                                         const struct netcluster_options *options,
                                         struct netcluster_client **client);

// Connects to the machine's broker: at the socket that NETCLUSTER_SOCKET names, else the
// user's, else the system's. Otherwise as netcluster_connect.
enum netcluster_error netcluster_connect_default(const struct netcluster_options *options,
                                                 struct netcluster_client **client);

// Frees a client; NULL is nothing. The connection ends at once, after a short try to write
// what was emitted: netcluster_disconnect makes sure instead. Subscriptions keep the
// connection until they are freed, too.
void netcluster_client_free(struct netcluster_client *client);

// Emits bytes to every other client with a listener that matches. Copies them, and returns
// before they are written: events travel together. Waits while the broker or a listener
// does not keep up; inside a listener it returns NETCLUSTER_BACKPRESSURE instead.
enum netcluster_error netcluster_emit(const struct netcluster_client *client,
                                      const char *event,
                                      const void *data,
                                      size_t size);

// Emits a NUL-terminated text in UTF-8.
enum netcluster_error netcluster_emit_text(const struct netcluster_client *client,
                                           const char *event,
                                           const char *text);

// Emits a NUL-terminated JSON text in UTF-8. That it is JSON is not checked.
enum netcluster_error netcluster_emit_json(const struct netcluster_client *client,
                                           const char *event,
                                           const char *json);

// Emits data that is encoded as `encoding` (of netcluster_encoding) says, which is not
// checked.
enum netcluster_error netcluster_emit_encoded(const struct netcluster_client *client,
                                              const char *event,
                                              int32_t encoding,
                                              const void *data,
                                              size_t size);

// Emits as netcluster_emit_encoded does, and never waits: NETCLUSTER_BACKPRESSURE if there
// is no room. For threads that must not block, such as those of event loops.
enum netcluster_error netcluster_try_emit(const struct netcluster_client *client,
                                          const char *event,
                                          int32_t encoding,
                                          const void *data,
                                          size_t size);

// Returns once everything emitted so far is written to the socket.
enum netcluster_error netcluster_flush(const struct netcluster_client *client);

// Ends the connection in order: returns once everything emitted is queued at every
// target and the last listener ran. Inside a listener it does not wait. The handle is still
// to be freed; calls with it return NETCLUSTER_DISCONNECTED.
enum netcluster_error netcluster_disconnect(const struct netcluster_client *client);

// Returns whether the client ended for good. True for NULL.
bool netcluster_is_closed(const struct netcluster_client *client);

// Returns the text of this thread's last failure, for people: what is wrong and what to do.
// Never NULL; empty if nothing has failed. Valid until the next call that fails on this
// thread.
const char *netcluster_last_error(void);

// Returns the number of the broker's error, as PROTOCOL.md lists them, if this thread's last
// failure came of one; else 0.
uint32_t netcluster_last_broker_code(void);

// Returns the name of a code, such as "BROKER_NOT_RUNNING"; the same in all languages.
// Never NULL.
const char *netcluster_error_name(int32_t code);

// Calls `listener` with `user` for what happens to the connection from now on, each at its
// place in the order of the events. `destroy` frees `user` and may be NULL; if it fails
// it was called.
enum netcluster_error netcluster_on_lifecycle(const struct netcluster_client *client,
                                              netcluster_lifecycle_listener listener,
                                              void *user,
                                              netcluster_destroy destroy);

// Calls `listener` with `user` for every event whose name matches `pattern`, in which `*`
// is one token and `**` any number. Returns once the broker acknowledged: an event emitted
// afterwards anywhere on the machine is not missed. Inside a listener it does not wait for
// that. `destroy` frees `user` and may be NULL; so may `id`, by which the listener is
// removed. If it fails `destroy` was called.
enum netcluster_error netcluster_on(const struct netcluster_client *client,
                                    const char *pattern,
                                    netcluster_listener listener,
                                    void *user,
                                    netcluster_destroy destroy,
                                    uint64_t *id);

// As netcluster_on, for one event only.
enum netcluster_error netcluster_once(const struct netcluster_client *client,
                                      const char *pattern,
                                      netcluster_listener listener,
                                      void *user,
                                      netcluster_destroy destroy,
                                      uint64_t *id);

// As netcluster_on; it is called before the listeners that are there.
enum netcluster_error netcluster_prepend_listener(const struct netcluster_client *client,
                                                  const char *pattern,
                                                  netcluster_listener listener,
                                                  void *user,
                                                  netcluster_destroy destroy,
                                                  uint64_t *id);

// Removes a listener; returns whether it was there. Called from a listener, it is not called
// again; from another thread, a call that runs already may finish. The destructor runs
// on the client's thread, when the next event comes or the client ends at the latest.
bool netcluster_remove_listener(const struct netcluster_client *client, uint64_t id);

// Removes the listeners of exactly this pattern, or all if it is NULL; returns how many.
size_t netcluster_remove_all_listeners(const struct netcluster_client *client, const char *pattern);

// Counts the listeners that exactly this pattern has here, or all if it is NULL.
size_t netcluster_listener_count(const struct netcluster_client *client, const char *pattern);

// Gives the patterns that have listeners here, sorted, as a JSON array of strings; `*json` is
// to be freed by netcluster_string_free.
enum netcluster_error netcluster_event_names(const struct netcluster_client *client, char **json);

// Returns the event's name, NUL-terminated. NULL for NULL.
const char *netcluster_message_event(const struct netcluster_message *message);

// Returns the payload: netcluster_message_size bytes, the first at a multiple of 8, without a
// NUL behind the last. NULL for NULL.
const void *netcluster_message_data(const struct netcluster_message *message);

// Returns the number of bytes of the payload.
size_t netcluster_message_size(const struct netcluster_message *message);

// Returns what the payload is, as its emitter says.
enum netcluster_encoding netcluster_message_encoding(const struct netcluster_message *message);

// Gives the payload as text, whatever its encoding is said to be: NETCLUSTER_TEXT if it is
// no UTF-8. `*size` bytes at `*text`, without a NUL behind them.
enum netcluster_error netcluster_message_text(const struct netcluster_message *message,
                                              const char **text,
                                              size_t *size);

// Returns who emitted it. Zeros for NULL.
struct netcluster_source netcluster_message_source(const struct netcluster_message *message);

// Returns the emitter's number for it.
uint64_t netcluster_message_sequence(const struct netcluster_message *message);

// Keeps a message: what is returned is the program's, until it is given to
// netcluster_message_release once for each time it was kept. One that a listener was called
// with is copied if it is small or came by shared memory; else it pins the receive buffer
// that it lies in (256 KiB or more). NULL for NULL.
struct netcluster_message *netcluster_message_keep(const struct netcluster_message *message);

// Gives up a message that was kept or taken from a subscription; NULL is nothing, and so
// is the message that a listener was called with.
void netcluster_message_release(struct netcluster_message *message);

// Makes options with their defaults. NULL if there is no memory.
struct netcluster_options *netcluster_options_new(void);

// Frees options; NULL is nothing.
void netcluster_options_free(struct netcluster_options *options);

// Sets the channel: only clients of the same one hear each other. "default" by default.
enum netcluster_error netcluster_options_set_channel(struct netcluster_options *options,
                                                     const char *channel);

// Sets the name of this client in the broker's status.
enum netcluster_error netcluster_options_set_name(struct netcluster_options *options,
                                                  const char *name);

// Sets whether own listeners hear own events; they do not by default.
enum netcluster_error netcluster_options_set_echo(struct netcluster_options *options, bool echo);

// Sets what happens when own listeners do not keep up: with true this client loses the
// oldest events, is told, and delays nobody; by default its emitters wait.
enum netcluster_error netcluster_options_set_latest(struct netcluster_options *options,
                                                    bool latest);

// Sets how many bytes the broker may hold for this client; 0: as the broker has it.
enum netcluster_error netcluster_options_set_max_queue(struct netcluster_options *options,
                                                       uint64_t bytes);

// Sets how many bytes of emitted events may wait in this process; 4 MiB by default.
enum netcluster_error netcluster_options_set_max_buffer(struct netcluster_options *options,
                                                        size_t bytes);

// Sets whether events may go through memory that the broker shares with this client; they
// may by default, where the system has it.
enum netcluster_error netcluster_options_set_shared_memory(struct netcluster_options *options,
                                                           bool shared_memory);

// Sets for how many microseconds the client looks for events in shared memory before it
// sleeps; 0 by default. Looking takes a core, being woken some 50 microseconds.
enum netcluster_error netcluster_options_set_spin(struct netcluster_options *options,
                                                  uint32_t microseconds);

// Sets whether a lost connection is made again; it is by default, for ever.
enum netcluster_error netcluster_options_set_reconnect(struct netcluster_options *options,
                                                       bool reconnect);

// Sets how long to wait for the broker's answers; 5000 milliseconds by default.
enum netcluster_error netcluster_options_set_connect_timeout(struct netcluster_options *options,
                                                             int64_t milliseconds);

// Sets how long netcluster_disconnect waits; 5000 milliseconds by default.
enum netcluster_error netcluster_options_set_disconnect_timeout(struct netcluster_options *options,
                                                                int64_t milliseconds);

// Sets how long the first connection is tried again while no broker is there; by default
// it is tried once.
enum netcluster_error netcluster_options_set_wait_for_broker(struct netcluster_options *options,
                                                             int64_t milliseconds);

// Lets netcluster_on and the like return only when the brokers of all machines know of the
// listener; NETCLUSTER_CLUSTER_INCOMPLETE after this time. By default they wait for this
// machine alone.
enum netcluster_error netcluster_options_set_wait_for_cluster(struct netcluster_options *options,
                                                              int64_t milliseconds);

// Subscribes: `*subscription` is to be freed by netcluster_subscription_free; NULL if it
// fails.
enum netcluster_error netcluster_subscribe(const struct netcluster_client *client,
                                           const char *pattern,
                                           struct netcluster_subscription **subscription);

// Takes the next message; waits for it for so many milliseconds, or for ever if they are
// negative. `*message` is to be given to netcluster_message_release; NULL if there is none:
// NETCLUSTER_TIMEOUT: none came. NETCLUSTER_LOST: events are missing here, as `lost` says
// unless it is NULL; others follow. NETCLUSTER_DISCONNECTED: none will come.
enum netcluster_error netcluster_next(const struct netcluster_subscription *subscription,
                                      int64_t milliseconds,
                                      struct netcluster_message **message,
                                      struct netcluster_lost *lost);

// Frees a subscription, which ends it; NULL is nothing. No thread may wait in
// netcluster_next meanwhile: netcluster_disconnect has those return.
void netcluster_subscription_free(struct netcluster_subscription *subscription);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NETCLUSTER_H */
