/* Driver of the conformance suite for C: see bindings/conformance/README.md.
 *
 * Lines of JSON on standard input are requests; answers and reports are lines on standard
 * output. Of JSON it knows what is needed: where the value of a key begins and ends. */
#define _POSIX_C_SOURCE 200809L
#include "json.h"

#include <netcluster.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define MAX_LISTENERS 4096
#define PATIENCE_SECONDS 20

typedef struct {
    char *name, *then_event;
    bool is_pull, throws, removes_itself, is_removed, is_once;
    uint64_t id;
    netcluster_subscription *subscription;
    pthread_t thread;
} Listener;

static netcluster_client *client;
static bool is_connected;
static Listener *listeners[MAX_LISTENERS];
static int listener_count;
/* Taken while a line is written, and while a listener is removed. */
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

/* Lines */

static void source_into(Text *line, netcluster_source source) {
    text_format(line, "\"%08x/%u\"", source.node, source.client);
}

static void write_line(Text *line) {
    pthread_mutex_lock(&output);
    fwrite(line->bytes, 1, line->length, stdout);
    fputc('\n', stdout);
    fflush(stdout);
    pthread_mutex_unlock(&output);
    text_free(line);
}

static void failure_into(Text *line, netcluster_error error) {
    text_format(line, "{\"code\":\"%s\",\"message\":", netcluster_error_name((int)error));
    text_string(line, netcluster_last_error(), strlen(netcluster_last_error()));
    if (netcluster_last_broker_code())
        text_format(line, ",\"broker_code\":%u", netcluster_last_broker_code());
    text_format(line, "}");
}

/* Reports */

static const char *reason_name(netcluster_loss_reason reason) {
    static const char *const names[] = {"unknown", "overflow", "disconnected", "link", "peer", "slow", "large"};
    return (unsigned)reason < sizeof names / sizeof *names ? names[reason] : "unknown";
}

static void report_lost(const netcluster_lost *lost, const char *listener) {
    Text line = {0};
    text_format(&line, "{\"report\":\"lost\",\"source\":");
    if (lost->has_source)
        source_into(&line, lost->source);
    else
        text_format(&line, "null");
    if (lost->has_count)
        text_format(&line, ",\"count\":%llu", (unsigned long long)lost->count);
    else
        text_format(&line, ",\"count\":null");
    text_format(&line, ",\"reason\":\"%s\"", reason_name(lost->reason));
    if (listener) {
        text_format(&line, ",\"listener\":");
        text_string(&line, listener, strlen(listener));
    }
    text_format(&line, "}");
    write_line(&line);
}

/* Reports an event unless its listener is removed; whether it did. */
static bool report_event(Listener *listener, const netcluster_message *message) {
    static const char *const encodings[] = {"bytes", "text", "json"};
    const char *data = netcluster_message_data(message), *text;
    const char *event = netcluster_message_event(message);
    size_t size = netcluster_message_size(message), text_size;
    netcluster_encoding encoding = netcluster_message_encoding(message);
    Text line = {0};
    bool is_text = netcluster_message_text(message, &text, &text_size) == NETCLUSTER_OK;

    text_format(&line, "{\"report\":\"event\",\"listener\":");
    text_string(&line, listener->name, strlen(listener->name));
    text_format(&line, ",\"event\":");
    text_string(&line, event, strlen(event));
    text_format(&line, ",\"encoding\":\"%s\",\"data\":\"", encodings[encoding]);
    text_base64(&line, data, size);
    text_format(&line, "\",\"source\":");
    source_into(&line, netcluster_message_source(message));
    text_format(&line, ",\"sequence\":%llu", (unsigned long long)netcluster_message_sequence(message));
    if (encoding == NETCLUSTER_UTF8_TEXT && is_text) {
        text_format(&line, ",\"text\":");
        text_string(&line, data, size);
    } else if (encoding == NETCLUSTER_JSON && is_text && json_is_whole(data, data + size)) {
        text_format(&line, ",\"value\":");
        text_json(&line, data, size);
    } else if (encoding != NETCLUSTER_BYTES) {
        text_format(&line, ",\"undecodable\":\"it is no %s\"", encodings[encoding]);
    }
    text_format(&line, "}\n");
    pthread_mutex_lock(&output);
    is_text = !listener->is_removed;
    if (is_text) {
        fwrite(line.bytes, 1, line.length, stdout);
        fflush(stdout);
        listener->is_removed = listener->is_once;
    }
    pthread_mutex_unlock(&output);
    text_free(&line);
    return is_text;
}

static void hear(const netcluster_message *message, void *user) {
    Listener *listener = user;
    if (!report_event(listener, message))
        return;
    if (listener->removes_itself)
        netcluster_remove_listener(client, listener->id);
    if (listener->then_event)
        netcluster_emit_encoded(client, listener->then_event, (int)netcluster_message_encoding(message),
                                netcluster_message_data(message), netcluster_message_size(message));
}

static void *pull(void *user) {
    Listener *listener = user;
    netcluster_message *message;
    netcluster_lost lost;
    for (;;) {
        switch (netcluster_next(listener->subscription, -1, &message, &lost)) {
        case NETCLUSTER_OK:
            report_event(listener, message);
            netcluster_message_release(message);
            break;
        case NETCLUSTER_LOST:
            report_lost(&lost, listener->name);
            break;
        default:
            return NULL;
        }
    }
}

static void note_lifecycle(const netcluster_lifecycle *event, void *user) {
    static const char *const names[] = {"connect", "disconnect", "error", "lost", "closed"};
    Text line = {0};
    (void)user;
    if (event->kind == NETCLUSTER_LIFECYCLE_LOST) {
        report_lost(&event->lost, NULL);
        return;
    }
    if (event->kind == NETCLUSTER_LIFECYCLE_CONNECT)
        is_connected = true;
    if (event->kind == NETCLUSTER_LIFECYCLE_DISCONNECT || event->kind == NETCLUSTER_LIFECYCLE_CLOSED) {
        is_connected = false;
        if (event->code == NETCLUSTER_DISCONNECTED)
            return;
    }
    text_format(&line, "{\"report\":\"%s\"", names[event->kind]);
    if (event->kind == NETCLUSTER_LIFECYCLE_CONNECT) {
        text_format(&line, ",\"source\":");
        source_into(&line, event->source);
    } else {
        text_format(&line, ",\"code\":\"%s\",\"message\":", netcluster_error_name((int)event->code));
        text_string(&line, event->text, strlen(event->text));
        if (event->broker_code)
            text_format(&line, ",\"broker_code\":%u", event->broker_code);
        else
            text_format(&line, ",\"broker_code\":null");
    }
    text_format(&line, "}");
    write_line(&line);
}

/* Requests: each returns a code, and appends what it answers to `ok`. */

typedef netcluster_error (*Do)(const char *request, Text *ok);

#define UNSUPPORTED ((netcluster_error)-1)

static netcluster_error do_connect(const char *request, Text *ok) {
    netcluster_options *options = netcluster_options_new();
    char *socket = json_text(request, "socket"), *channel = json_text(request, "channel");
    char *name = json_text(request, "name");
    netcluster_error error;

    netcluster_client_free(client);
    client = NULL;
    netcluster_options_set_name(options, name ? name : "driver");
    if (channel)
        netcluster_options_set_channel(options, channel);
    netcluster_options_set_echo(options, json_is_true(request, "echo", false));
    netcluster_options_set_latest(options, json_is_true(request, "latest", false));
    netcluster_options_set_max_queue(options, (uint64_t)json_number(request, "max_queue", 0));
    netcluster_options_set_reconnect(options, json_is_true(request, "reconnect", true));
    netcluster_options_set_connect_timeout(options, (int64_t)json_number(request, "timeout_ms", 5000));
    netcluster_options_set_disconnect_timeout(options, (int64_t)json_number(request, "disconnect_timeout_ms", 5000));
    error = netcluster_connect(socket, options, &client);
    if (error == NETCLUSTER_OK) {
        is_connected = true;
        listener_count = 0;
        netcluster_on_lifecycle(client, note_lifecycle, NULL, NULL);
        text_format(ok, "\"source\":");
        source_into(ok, netcluster_client_source(client));
    }
    netcluster_options_free(options);
    free(socket);
    free(channel);
    free(name);
    return error;
}

static netcluster_error add(const char *request, bool is_pull) {
    Listener *listener = calloc(1, sizeof *listener);
    char *pattern = json_text(request, "pattern"), *then = json_text(request, "then");
    const char *inside = json_value(request, "then");
    netcluster_error error;

    listener->name = json_text(request, "listener");
    listener->is_pull = is_pull;
    listener->is_once = json_is_true(request, "once", false);
    listener->removes_itself = then && strcmp(then, "off") == 0;
    listener->then_event = inside && *inside == '{' ? json_text(inside, "emit") : NULL;
    if (is_pull)
        error = netcluster_subscribe(client, pattern, &listener->subscription);
    else if (then && strcmp(then, "throw") == 0)
        error = UNSUPPORTED;
    else
        error = (listener->is_once                               ? netcluster_once
                 : json_is_true(request, "prepend", false) ? netcluster_prepend_listener
                                                                 : netcluster_on)(
            client, pattern, hear, listener, NULL, &listener->id);
    if (error == NETCLUSTER_OK && is_pull)
        pthread_create(&listener->thread, NULL, pull, listener);
    /* Listeners live as long as the driver: a call of one may run. */
    if (error == NETCLUSTER_OK && listener_count < MAX_LISTENERS)
        listeners[listener_count++] = listener;
    free(pattern);
    free(then);
    return error;
}

static netcluster_error do_on(const char *request, Text *ok) {
    (void)ok;
    return add(request, false);
}

static netcluster_error do_subscribe(const char *request, Text *ok) {
    (void)ok;
    return add(request, true);
}

static netcluster_error do_off(const char *request, Text *ok) {
    char *name = json_text(request, "listener");
    bool was_there = false;
    int at;
    for (at = 0; at < listener_count; at++) {
        Listener *listener = listeners[at];
        if (strcmp(listener->name, name) != 0)
            continue;
        pthread_mutex_lock(&output);
        was_there = !listener->is_removed;
        listener->is_removed = true;
        pthread_mutex_unlock(&output);
        if (!listener->is_pull)
            was_there = netcluster_remove_listener(client, listener->id);
    }
    free(name);
    text_format(ok, "\"removed\":%s", was_there ? "true" : "false");
    return NETCLUSTER_OK;
}

static netcluster_error do_emit(const char *request, Text *ok) {
    char *event = json_text(request, "event"), *encoding = json_text(request, "encoding");
    const char *value = json_value(request, "value");
    int number = !encoding ? -1 : strcmp(encoding, "bytes") == 0 ? 0 : strcmp(encoding, "text") == 0 ? 1 : 2;
    Text payload = {0};
    netcluster_error error;
    (void)ok;
    if (json_value(request, "size")) {
        payload.length = (size_t)json_number(request, "size", 0);
        payload.bytes = malloc(payload.length + 1);
        memset(payload.bytes, 'x', payload.length);
    } else if (number == 2 && value) {
        text_json(&payload, value, (size_t)(json_end(value, value + strlen(value)) - value));
    } else {
        json_payload(&payload, request, number == 0);
    }
    error = netcluster_emit_encoded(client, event, number, payload.bytes, payload.length);
    text_free(&payload);
    free(event);
    free(encoding);
    return error;
}

static netcluster_error do_emit_many(const char *request, Text *ok) {
    char *event = json_text(request, "event");
    long long first = (long long)json_number(request, "first", 1);
    long long count = (long long)json_number(request, "count", 0), accepted = 0;
    int size = (int)json_number(request, "size", 0);
    char *text = malloc((size_t)size + 32);
    netcluster_error error = NETCLUSTER_OK;
    time_t end = time(NULL) + PATIENCE_SECONDS;

    while (accepted < count) {
        sprintf(text, "%-*lld", size, first + accepted);
        error = netcluster_emit_text(client, event, text);
        if (error == NETCLUSTER_OK)
            accepted++;
        else if ((error != NETCLUSTER_BACKPRESSURE && error != NETCLUSTER_NOT_CONNECTED) || time(NULL) > end)
            break;
    }
    text_format(ok, "\"accepted\":%lld", accepted);
    if (accepted < count) {
        text_format(ok, ",\"error\":");
        failure_into(ok, error);
    }
    free(text);
    free(event);
    return NETCLUSTER_OK;
}

static netcluster_error do_flush(const char *request, Text *ok) {
    (void)request, (void)ok;
    return netcluster_flush(client);
}

static netcluster_error do_ping(const char *request, Text *ok) {
    (void)request, (void)ok;
    return netcluster_ping(client, NULL);
}

static netcluster_error do_disconnect(const char *request, Text *ok) {
    (void)request, (void)ok;
    return netcluster_disconnect(client);
}

static netcluster_error do_state(const char *request, Text *ok) {
    bool is_closed = netcluster_is_closed(client);
    char *names = NULL;
    netcluster_error error = netcluster_event_names(client, &names);
    (void)request;
    if (error != NETCLUSTER_OK)
        return error;
    text_format(ok, "\"connected\":%s,\"closed\":%s,\"source\":", is_connected && !is_closed ? "true" : "false",
                is_closed ? "true" : "false");
    source_into(ok, netcluster_client_source(client));
    text_format(ok, ",\"last_sequence\":%llu,\"confirmed\":%llu,\"max_payload\":%llu,\"listener_count\":%llu",
                (unsigned long long)netcluster_last_sequence(client),
                (unsigned long long)netcluster_confirmed_sequence(client),
                (unsigned long long)netcluster_max_payload(client),
                (unsigned long long)netcluster_listener_count(client, NULL));
    text_format(ok, ",\"event_names\":%s", names);
    netcluster_string_free(names);
    return NETCLUSTER_OK;
}

static netcluster_error do_status(const char *request, Text *ok) {
    char *json;
    netcluster_error error = netcluster_status(client, &json);
    (void)request;
    if (error == NETCLUSTER_OK) {
        text_format(ok, "\"status\":");
        text_json(ok, json, strlen(json));
        netcluster_string_free(json);
    }
    return error;
}

static netcluster_error do_audience(const char *request, Text *ok) {
    char *event = json_text(request, "event");
    netcluster_audience audience;
    netcluster_error error = netcluster_count_audience(client, event, &audience);
    if (error == NETCLUSTER_OK)
        text_format(ok, "\"clients\":%llu,\"brokers\":%llu", (unsigned long long)audience.clients,
                    (unsigned long long)audience.brokers);
    free(event);
    return error;
}

static const struct {
    const char *word;
    Do act;
} REQUESTS[] = {
    {"connect", do_connect},   {"on", do_on},       {"subscribe", do_subscribe}, {"off", do_off},
    {"emit", do_emit},         {"flush", do_flush}, {"emit_many", do_emit_many}, {"ping", do_ping},
    {"disconnect", do_disconnect}, {"state", do_state}, {"status", do_status},   {"audience", do_audience},
};

static void carry_out(const char *request) {
    Text line = {0}, ok = {0};
    char *word = json_text(request, "do");
    netcluster_error error = UNSUPPORTED;
    size_t at;

    for (at = 0; word && at < sizeof REQUESTS / sizeof *REQUESTS; at++) {
        if (strcmp(REQUESTS[at].word, word) == 0)
            error = client || at == 0 ? REQUESTS[at].act(request, &ok) : NETCLUSTER_DISCONNECTED;
    }
    text_format(&line, "{\"id\":%lld,", (long long)json_number(request, "id", 0));
    if (error == NETCLUSTER_OK) {
        text_format(&line, "\"ok\":{%s}}", ok.bytes ? ok.bytes : "");
    } else if (error == UNSUPPORTED) {
        text_format(&line, "\"error\":{\"code\":\"UNSUPPORTED\",\"message\":\"the driver cannot do this\"}}");
    } else {
        text_format(&line, "\"error\":");
        failure_into(&line, error);
        text_format(&line, "}");
    }
    write_line(&line);
    text_free(&ok);
    free(word);
}

int main(void) {
    char *request = NULL;
    size_t room = 0;
    puts("{\"driver\":\"c\",\"capabilities\":[\"latest\",\"pull\",\"prepend\",\"off-inside\",\"confirmed\","
         "\"max-payload\",\"status\",\"audience\"]}");
    fflush(stdout);
    while (getline(&request, &room, stdin) > 0)
        carry_out(request);
    /* Within a second, whatever broker and listeners do. */
    _exit(0);
}
